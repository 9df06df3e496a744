//! haproxy as deploy/scaled and deploy/identity have it, running: what it passes on, what it limits, and
//! who it says a connection is from.

use crate::fleet::{
    Certificates, Operation, Process, export, free_port, ids, post, shipped, until,
};
use crate::identity::{Balancer, identified};
use crate::{Gateway, arrived};
use mpr_otel_lab::receiver::Receiver;
use prost::Message;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use tempfile::TempDir;

const MACHINE: &str = "desk-17.corp.example";
const OTHER: &str = "desk-18.corp.example";
/// Where the second gateway is; the first is on 127.0.0.1.
const SECOND: &str = "127.0.0.2";
/// From where the first balancer connects to one of deploy/identity.
const FRONT: &str = "127.0.0.9";

fn spans(machine: &str) -> Vec<u8> {
    export(machine, &[Operation::on("files01.corp.example")]).encode_to_vec()
}

/// haproxy as deploy/scaled has it, with addresses of this machine.
struct Front {
    folder: TempDir,
    listen: String,
    process: Process,
}

impl Front {
    /// Each pair: what the file says, and what it is here.
    fn of(changes: &[(&str, &str)], settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let mut config = fs::read_to_string(shipped("deploy/scaled/haproxy.cfg")).unwrap();
        let (bind, socket) = (format!("bind {listen}"), folder.path().join("admin.sock"));
        let socket = socket.to_str().unwrap();
        let always = [("bind :4318", &*bind), ("/run/haproxy/admin.sock", socket)];
        for (from, to) in always.iter().chain(changes) {
            assert!(config.contains(from), "{from} is not in haproxy.cfg");
            config = config.replace(from, to);
        }
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-f").arg(&file).envs(settings.iter().copied());
        let process = Process::start("front", command, folder.path()).unwrap();
        until("haproxy", || TcpStream::connect(&listen).ok());
        Self { folder, listen, process }
    }

    /// One before a balancer of deploy/identity, as the comment in the file says. `check` is how that one is
    /// spoken to.
    fn before(balancer: &Balancer, check: &str) -> Self {
        let address = balancer.endpoint.strip_prefix("https://").unwrap();
        let source = format!("init-addr last,libc,none source {FRONT}");
        Self::of(
            &[
                ("gw-a.corp.example:4318", address),
                ("init-addr last,libc,none", &source),
                ("    option httpchk GET /\n", ""),
                ("check port 13133 inter 2s fall 2 rise 2 slowstart 30s", check),
            ],
            &[],
        )
    }

    /// A command to its socket, as README.md has it.
    fn ask(&self, command: &str) {
        let mut socket = UnixStream::connect(self.folder.path().join("admin.sock")).unwrap();
        writeln!(socket, "{command}").unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.trim(), "", "{command}");
    }
}

/// The commands of deploy/scaled/README.md to the socket, with this gateway's name.
fn commands(gateway: &str) -> Vec<String> {
    let page = fs::read_to_string(shipped("deploy/scaled/README.md")).unwrap();
    let lines = page.lines().filter_map(|line| line.trim().strip_prefix("echo \""));
    let commands = lines.filter_map(|line| line.split_once("\" | socat"));
    commands.map(|(command, _)| command.replace("gw-a", gateway)).collect()
}

/// Sends so many operations, each of which opens a connection of its own. Returns their ids.
fn send(front: &Front, machines: &Certificates, count: usize) -> Vec<Vec<u8>> {
    let url = format!("https://{}/v1/traces", front.listen);
    let send = |_| {
        let operation = export(MACHINE, &[Operation::on("files01.corp.example")]);
        let client = machines.client(Some(machines));
        assert_eq!(post(&client, &url, &operation.encode_to_vec(), &[]), 200);
        ids(&operation)
    };
    (0..count).flat_map(send).collect()
}

/// Waits until `backend` gets an operation of those that are sent from now on.
fn until_it_takes(backend: &Receiver, mut send: impl FnMut() -> Vec<Vec<u8>>) {
    let mut sent = Vec::new();
    until("the backend of the gateway", || {
        sent.extend(send());
        let mut taken = backend.requests().try_iter().flat_map(|request| ids(&request.export));
        taken.any(|id| sent.contains(&id)).then_some(())
    });
}

#[test]
fn a_gateway_that_is_taken_out_gets_nothing_and_the_other_takes_all() {
    let backends = [(); 2].map(|()| Receiver::start().unwrap());
    let health = free_port();
    let first = Gateway::new().onward(&backends[0]);
    let first = first.with("MPR_HEALTH_LISTEN", format!("127.0.0.1:{health}")).start();
    // Both show the certificate that machines expect: the balancer's name is in it.
    let machines = &first.certificates;
    let listen = format!("{SECOND}:{}", free_port());
    let mut second = Gateway::new().onward(&backends[1]);
    second.setup = machines
        .serve(second.setup)
        .with("MPR_GATEWAY_LISTEN", &listen)
        .with("MPR_HEALTH_LISTEN", format!("{SECOND}:{health}"));
    let mut second = second.start();
    let check = format!("check port {health}");
    let changes = [
        ("gw-a.corp.example:4318", first.setup.get("MPR_GATEWAY_LISTEN")),
        ("gw-b.corp.example:4318", &listen),
        ("check port 13133", &check),
    ];
    let front = Front::of(&changes, &[]);
    let commands = commands("gw-a");
    let [drain, end, ready] = &commands[..] else { panic!("{commands:?}") };
    for backend in &backends {
        until_it_takes(backend, || send(&front, machines, 2));
    }
    front.ask(drain);
    front.ask(end);
    arrived(&backends[1], send(&front, machines, 8));
    front.ask(ready);
    until_it_takes(&backends[0], || send(&front, machines, 2));
    // The other way round without a word: a request that meets nobody goes to the other gateway.
    second.kill();
    arrived(&backends[0], send(&front, machines, 4));
}

#[test]
fn an_address_that_opens_too_many_connections_is_refused() {
    let gateway = Gateway::new().start();
    let health = gateway.setup.get("MPR_HEALTH_LISTEN").rsplit(':').next().unwrap();
    let check = format!("check port {health}");
    let changes = [
        ("gw-a.corp.example:4318", gateway.setup.get("MPR_GATEWAY_LISTEN")),
        ("check port 13133", &*check),
    ];
    let front = Front::of(&changes, &[("MPR_ADDRESS_CONNECTIONS", "20")]);
    let url = format!("https://{}/v1/traces", front.listen);
    let is_taken = || {
        let client = gateway.certificates.client(Some(&gateway.certificates));
        client.post(&url).send(&spans(MACHINE)[..]).is_ok()
    };
    let mut taken = 0;
    until("a refusal", || {
        let is_taken = is_taken();
        taken += usize::from(is_taken);
        (!is_taken).then_some(())
    });
    assert!(taken > 0, "{}", front.process.said());
    // The address is refused for a while, and no longer.
    until("the balancer takes the address again", || is_taken().then_some(()));
}

#[test]
fn a_machine_that_sends_too_often_or_too_much_is_refused_and_the_others_are_not() {
    let gateway = identified().start();
    let balancer = Balancer::of(&gateway, &[("MPR_HOST_REQUESTS", "10")]);
    let url = format!("{}/v1/traces", balancer.endpoint);
    let [machine, other] = [MACHINE, OTHER].map(|machine| balancer.machines.client_of(machine));
    assert_eq!(post(&machine, &url, &spans(MACHINE), &[]), 200);
    // 429: the machine keeps what it has, and comes again.
    until("the machine's limit", || {
        let status = post(&machine, &url, &spans(MACHINE), &[]);
        assert!([200, 429].contains(&status), "{status}");
        (status == 429).then_some(())
    });
    assert_eq!(post(&other, &url, &spans(OTHER), &[]), 200);
    // As one of the right size, it would be asked for what it announces.
    let large = vec![0; 8 * 1024 * 1024 + 1];
    assert_eq!(post(&other, &url, &large, &[("expect", "100-continue")]), 413);
    until("the machine is let in again", || {
        (post(&machine, &url, &spans(MACHINE), &[]) == 200).then_some(())
    });
}

#[test]
fn a_balancer_says_whose_connection_it_is_and_only_a_balancer_is_believed() {
    let gateway = identified().start();
    let folder = tempfile::tempdir().unwrap();
    let fronts = folder.path().join("fronts");
    fs::write(&fronts, format!("{FRONT}\n")).unwrap();
    let balancer = Balancer::of(&gateway, &[("MPR_FRONT_BALANCERS", fronts.to_str().unwrap())]);
    let machine = balancer.machines.client_of(MACHINE);
    let front = Front::before(&balancer, "check send-proxy-v2");
    let url = format!("https://{}/v1/traces", front.listen);
    assert_eq!(post(&machine, &url, &spans(MACHINE), &[]), 200);
    // What comes from a balancer and does not say whose it is, is no connection.
    let silent = Front::before(&balancer, "inter 2s");
    let url = format!("https://{}/v1/traces", silent.listen);
    assert!(balancer.machines.client_of(MACHINE).post(&url).send(&spans(MACHINE)[..]).is_err());

    // Without the list nobody is believed: who says an address has no connection.
    let balancer = Balancer::of(&gateway, &[]);
    let silent = Front::before(&balancer, "inter 2s");
    let url = format!("https://{}/v1/traces", silent.listen);
    assert_eq!(post(&balancer.machines.client_of(MACHINE), &url, &spans(MACHINE), &[]), 200);
    let front = Front::before(&balancer, "check send-proxy-v2");
    let url = format!("https://{}/v1/traces", front.listen);
    assert!(balancer.machines.client_of(MACHINE).post(&url).send(&spans(MACHINE)[..]).is_err());
}
