//! What leaves a machine of the event channels. The receiver itself runs on Windows only; here
//! events come by OTLP, in the shape that it gives them.

use crate::fleet::{Setup, free_port, plain_client, until};
use crate::{Agent, Gateway, Process};
use serde_json::{Value, json};
use tempfile::TempDir;

const CONNECTIVITY: &str = "Microsoft-Windows-SmbClient/Connectivity";
const SECURITY: &str = "Microsoft-Windows-SmbClient/Security";
const GROUP_POLICY: &str = "Microsoft-Windows-GroupPolicy/Operational";
const SMB_CLIENT: &str = "Microsoft-Windows-SMBClient";
const GROUP_POLICY_SERVICE: &str = "Microsoft-Windows-GroupPolicy";
/// Group Policy's extension for drives.
const DRIVE_MAPS: &str = "{5794DAFD-BE60-433F-88A2-1A31939AC01F}";
/// That for the registry.
const REGISTRY: &str = "{35378EAC-683F-11D2-A89A-00C04FBBCFA2}";

/// Stands in each field that must not leave.
const PRIVATE: &str = "jdoe-S-1-5-21";

/// An event as Windows has it.
#[derive(Clone, Debug)]
struct Event {
    provider: &'static str,
    channel: &'static str,
    id: u32,
    data: Value,
}

impl Event {
    fn connectivity(id: u32, data: Value) -> Self {
        Self { provider: SMB_CLIENT, channel: CONNECTIVITY, id, data }
    }

    fn security(id: u32, data: Value) -> Self {
        Self { provider: SMB_CLIENT, channel: SECURITY, id, data }
    }

    fn group_policy(id: u32, data: Value) -> Self {
        Self { provider: GROUP_POLICY_SERVICE, channel: GROUP_POLICY, id, data }
    }

    /// The body that the receiver makes of it (operator/input/windows/xml.go of the Collector's
    /// stanza library), with all that may be in one.
    fn body(&self) -> Value {
        json!({
            "event_id": {"qualifiers": 0, "id": self.id},
            "provider": {"name": self.provider, "guid": PRIVATE, "event_source": PRIVATE},
            "system_time": "2026-03-16T15:52:09.5166341Z",
            "computer": "desk-17.corp.example",
            "channel": self.channel,
            "record_id": 104,
            "level": "2",
            "message": PRIVATE,
            "task": PRIVATE,
            "opcode": PRIVATE,
            "keywords": [PRIVATE],
            "event_data": self.data,
            "version": 0,
            "details": {"Subject": {"Account Name": PRIVATE}},
            "security": {"user_id": PRIVATE, "user_name": PRIVATE},
            "execution": {"process_id": 4, "thread_id": 4660},
            "correlation": {"activity_id": PRIVATE},
            "rendering_info": {"message": PRIVATE},
            "user_data": {"name": PRIVATE, "data": {"User": PRIVATE}},
            "binary_event_data": PRIVATE,
        })
    }

    /// What of it leaves, with this of its data.
    fn remains(&self, data: Value) -> Value {
        json!({
            "event_id": {"id": self.id},
            "provider": {"name": self.provider},
            "system_time": "2026-03-16T15:52:09.5166341Z",
            "computer": "desk-17.corp.example",
            "channel": self.channel,
            "record_id": 104,
            "level": "2",
            "event_data": data,
        })
    }
}

/// A value as OTLP has it in JSON.
fn otlp(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let values: Vec<Value> = fields
                .iter()
                .map(|(key, value)| json!({"key": key, "value": otlp(value)}))
                .collect();
            json!({"kvlistValue": {"values": values}})
        }
        Value::Array(items) => {
            json!({"arrayValue": {"values": items.iter().map(otlp).collect::<Vec<_>>()}})
        }
        Value::String(text) => json!({"stringValue": text}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::Bool(flag) => json!({"boolValue": flag}),
        Value::Null => json!({}),
    }
}

/// A machine's Collector, and one that shows on its console what it gets of it.
struct Machine {
    agent: Agent,
    shown: Process,
    _running: Process,
    _folder: TempDir,
}

impl Machine {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (setup, endpoint) = console();
        let shown = setup.start(folder.path());
        let agent = Agent::before(&endpoint);
        let running = agent.start();
        Self { agent, shown, _running: running, _folder: folder }
    }

    /// Takes bodies of events, and returns those that arrived, and all that is shown of them. The last
    /// one must arrive.
    fn take(&self, bodies: &[Value]) -> (Vec<Value>, String) {
        post(&self.agent, bodies);
        let last = "the last event";
        let marker = Event::connectivity(30899, json!({"ServerName": last}));
        post(&self.agent, &[marker.body()]);
        let shown = until("the last event", || {
            let shown = self.shown.said();
            shown.contains(last).then_some(shown)
        });
        let mut arrived: Vec<Value> = shown
            .lines()
            .filter_map(|line| line.strip_prefix("Body: "))
            .map(|body| match body.strip_prefix("Map(").and_then(|body| body.strip_suffix(')')) {
                Some(map) => serde_json::from_str(map).unwrap(),
                None => Value::from(body),
            })
            .collect();
        assert_eq!(arrived.pop(), Some(marker.remains(json!({"ServerName": last}))), "{shown}");
        (arrived, shown)
    }
}

/// The Collector for trying out, which shows logs on its console, and where it listens.
pub fn console() -> (Setup, String) {
    let listen = format!("127.0.0.1:{}", free_port());
    let setup = Setup::of(&["collector-config/single.yaml"])
        .with("MPR_LISTEN", &listen)
        .with("MPR_LOGS_VERBOSITY", "detailed")
        .with("MPR_PROMETHEUS_ENDPOINT", format!("http://127.0.0.1:{}", free_port()));
    (setup, format!("http://{listen}"))
}

/// An event of this computer, as the gateway takes it.
pub fn event(computer: &str, channel: &str) -> Value {
    let text = |key: &str, text: &str| json!({"key": key, "value": {"stringValue": text}});
    let body = [text("computer", computer), text("channel", channel)];
    json!({"resourceLogs": [{
        "resource": {"attributes": [text("host.name", computer), text("host.id", computer)]},
        "scopeLogs": [{"logRecords": [{"body": {"kvlistValue": {"values": body}}}]}],
    }]})
}

/// Sends events and returns the status of the answer.
pub fn send(client: &ureq::Agent, endpoint: &str, events: &Value, headers: &[(&str, &str)]) -> u16 {
    let mut request = client.post(format!("{endpoint}/v1/logs"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("content-type", "application/json");
    request.send(events.to_string()).unwrap().status().as_u16()
}

fn post(agent: &Agent, bodies: &[Value]) {
    let attributes = json!([{"key": "user.name", "value": {"stringValue": PRIVATE}}]);
    let records: Vec<Value> =
        bodies.iter().map(|body| json!({"body": otlp(body), "attributes": attributes})).collect();
    let export = json!({"resourceLogs": [{
        "resource": {"attributes": attributes},
        "scopeLogs": [{"logRecords": records}],
    }]});
    let answer = plain_client()
        .post(format!("{}/v1/logs", agent.endpoint()))
        .header("content-type", "application/json")
        .send(export.to_string())
        .unwrap();
    assert_eq!(answer.status(), 200);
}

/// An event, and the fields of it that leave the machine.
type Case = (Event, Value);

/// Of SMBClient/Connectivity.
fn connectivity() -> Vec<Case> {
    vec![
        // A connection failed.
        (
            Event::connectivity(
                30803,
                json!({
                    "Reason": "1", "Status": "3221225653", "ServerNameLength": "8",
                    "ServerName": r"\files01", "AddressLength": "16", "RemoteAddress": PRIVATE,
                    "LocalAddress": PRIVATE, "InstanceNameLength": "8", "InstanceName": PRIVATE,
                    "ConnectionType": "1",
                }),
            ),
            json!({
                "Reason": "1", "Status": "3221225653", "ServerName": r"\files01",
                "ConnectionType": "1",
            }),
        ),
        // The connection to a share was lost, which is in ServerName here.
        (
            Event::connectivity(
                30807,
                json!({
                    "Status": "3221226038", "SessionId": PRIVATE, "TreeId": "5",
                    "ServerName": r"\files01\sales", "Address": PRIVATE,
                }),
            ),
            json!({"Status": "3221226038", "ServerName": r"\files01\sales"}),
        ),
        // No answer came.
        (
            Event::connectivity(
                30809,
                json!({
                    "Smb2Command": "3", "MessageId": PRIVATE, "ServerName": r"\files01",
                    "Status": "3221225653", "RetryCount": "1", "ElapsedTimeInMs": "60000",
                }),
            ),
            json!({
                "ServerName": r"\files01", "Status": "3221225653", "ElapsedTimeInMs": "60000",
            }),
        ),
    ]
}

/// Of SMBClient/Security.
fn security() -> Vec<Case> {
    vec![
        // A logon was refused.
        (
            Event::security(
                31001,
                json!({
                    "Reason": "14", "Status": "3221225581", "SecurityStatus": "3221225581",
                    "LogonId": PRIVATE, "ServerName": r"\files01", "PrincipalName": PRIVATE,
                    "UserName": PRIVATE,
                }),
            ),
            json!({
                "Reason": "14", "Status": "3221225581", "SecurityStatus": "3221225581",
                "ServerName": r"\files01",
            }),
        ),
        // A share was refused.
        (
            Event::security(
                31010,
                json!({
                    "Reason": "15", "Status": "3221225506", "ShareName": r"\files01\sales",
                    "ObjectName": PRIVATE,
                }),
            ),
            json!({"Reason": "15", "Status": "3221225506", "ShareName": r"\files01\sales"}),
        ),
        // A logon as a guest was refused.
        (
            Event::security(31017, json!({"UserName": PRIVATE, "ServerName": r"\172.31.30.112"})),
            json!({"ServerName": r"\172.31.30.112"}),
        ),
    ]
}

/// Of Group Policy.
fn group_policy() -> Vec<Case> {
    let begins = [
        // Group Policy begins to map drives.
        (
            Event::group_policy(
                4016,
                json!({
                    "CSEExtensionId": DRIVE_MAPS, "CSEExtensionName": PRIVATE,
                    "IsExtensionAsyncProcessing": "false", "IsGPOListChanged": "true",
                    "GPOListStatusString": PRIVATE, "DescriptionString": PRIVATE,
                    "ApplicableGPOList": PRIVATE,
                }),
            ),
            json!({
                "CSEExtensionId": DRIVE_MAPS, "IsExtensionAsyncProcessing": "false",
                "IsGPOListChanged": "true",
            }),
        ),
    ];
    let ended = |id| {
        let data = json!({
            "CSEElaspedTimeInMilliSeconds": "20984", "ErrorCode": "53",
            "CSEExtensionName": PRIVATE, "CSEExtensionId": DRIVE_MAPS.to_lowercase(),
        });
        let remains = json!({
            "CSEElaspedTimeInMilliSeconds": "20984", "ErrorCode": "53",
            "CSEExtensionId": DRIVE_MAPS.to_lowercase(),
        });
        (Event::group_policy(id, data), remains)
    };
    // It ended well, with a warning, with an error.
    begins.into_iter().chain([ended(5016), ended(6016), ended(7016)]).collect()
}

#[test]
fn of_an_event_the_named_fields_leave_the_machine_and_no_others() {
    let cases: Vec<Case> =
        [connectivity(), security(), group_policy()].into_iter().flatten().collect();
    let sent: Vec<Value> = cases.iter().map(|(event, _)| event.body()).collect();
    let (arrived, shown) = Machine::start().take(&sent);
    let remaining: Vec<Value> =
        cases.iter().map(|(event, data)| event.remains(data.clone())).collect();
    assert_eq!(arrived, remaining);
    assert!(!shown.contains(PRIVATE), "{shown}");
}

#[test]
fn no_other_event_leaves_the_machine() {
    let server = json!({"ServerName": r"\files01"});
    let extension = |id: &str| json!({"CSEExtensionId": id, "ErrorCode": "0"});
    let events = [
        Event::connectivity(30799, server.clone()),
        // Of network adapters.
        Event::connectivity(30810, server.clone()),
        Event::connectivity(30813, server.clone()),
        Event::connectivity(30900, server.clone()),
        Event::connectivity(31010, server.clone()),
        Event::security(30803, server.clone()),
        Event::security(31100, server.clone()),
        Event {
            channel: "Microsoft-Windows-SmbClient/Operational",
            ..Event::connectivity(30803, server.clone())
        },
        Event { channel: "Security", ..Event::security(31017, server.clone()) },
        Event { provider: "Somebody-Else", ..Event::security(31017, server.clone()) },
        Event::group_policy(4016, extension(REGISTRY)),
        Event::group_policy(5016, extension(REGISTRY)),
        Event::group_policy(4016, json!({})),
        // It names the user.
        Event::group_policy(4001, extension(DRIVE_MAPS)),
        Event::group_policy(5017, extension(DRIVE_MAPS)),
        Event::group_policy(8001, json!({"PrincipalSamName": r"CORP\jdoe"})),
        Event { provider: SMB_CLIENT, ..Event::group_policy(4016, extension(DRIVE_MAPS)) },
        Event { channel: CONNECTIVITY, ..Event::group_policy(4016, extension(DRIVE_MAPS)) },
    ];
    let mut sent: Vec<Value> = events.iter().map(Event::body).collect();
    // Of another shape.
    let known = Event::connectivity(30803, server).body();
    for (field, value) in [
        ("event_data", json!(PRIVATE)),
        ("event_id", json!(30803)),
        ("event_id", json!({"id": "30803"})),
        ("provider", json!(SMB_CLIENT)),
        ("channel", json!([CONNECTIVITY])),
    ] {
        let mut other = known.clone();
        other[field] = value;
        sent.push(other);
    }
    for field in ["event_data", "event_id", "provider", "channel"] {
        let mut other = known.clone();
        other.as_object_mut().unwrap().remove(field);
        sent.push(other);
    }
    sent.extend([json!(PRIVATE), json!([known]), Value::Null]);
    let (arrived, shown) = Machine::start().take(&sent);
    assert_eq!(arrived, [Value::Null; 0]);
    assert!(!shown.contains(PRIVATE), "{shown}");
}

#[test]
fn below_a_share_nothing_leaves_the_machine() {
    let names = [
        (r"\files01", r"\files01"),
        (r"\\files01", r"\\files01"),
        ("files01", "files01"),
        (r"\files01\sales", r"\files01\sales"),
        (r"\files01\sales\", r"\files01\sales"),
        (r"\files01\sales\jdoe\payroll.xlsx", r"\files01\sales"),
        (r"\\corp.example\dfs\dept\finance", r"\\corp.example\dfs"),
        ("/files01/sales/jdoe", "/files01/sales"),
        ("\\files01\\sales\\jdoe\nmore", r"\files01\sales"),
        (r"\[2001:db8::1]\sales\jdoe", r"\[2001:db8::1]\sales"),
        // Named after users.
        (r"\files01\jdoe$", r"\files01\***"),
        (r"\files01\HOME$\jdoe", r"\files01\***"),
        (r"\files01\Users\jdoe", r"\files01\***"),
        (r"\files01\profiles", r"\files01\***"),
        ("\\files01\\jdoe\n$", r"\files01\***"),
        // Of every Windows.
        (r"\files01\C$\jdoe", r"\files01\C$"),
        (r"\files01\IPC$", r"\files01\IPC$"),
        (r"\files01\print$", r"\files01\print$"),
        // A server, not a share.
        (r"\desk$", r"\desk$"),
    ];
    let events = |field: &str, names: &mut dyn Iterator<Item = &'static str>| -> Vec<Event> {
        names.map(|name| Event::security(31010, json!({field: name}))).collect()
    };
    for field in ["ServerName", "ShareName"] {
        let sent = events(field, &mut names.iter().map(|(sent, _)| *sent));
        let left = events(field, &mut names.iter().map(|(_, left)| *left));
        let (arrived, _) = Machine::start().take(&sent.iter().map(Event::body).collect::<Vec<_>>());
        let left: Vec<Value> = left.iter().map(|event| event.remains(event.data.clone())).collect();
        assert_eq!(arrived, left);
    }
}

#[test]
fn events_arrive_under_the_name_of_their_machine() {
    let folder = tempfile::tempdir().unwrap();
    let (setup, endpoint) = console();
    let store = setup.start(folder.path());
    let gateway = Gateway::new().with("MPR_LOGS_ENDPOINT", endpoint).start();
    let agent = Agent::of(&gateway);
    let _process = agent.start();
    post(&agent, &[Event::connectivity(30803, json!({"ServerName": r"\files01"})).body()]);
    let shown = until("the event", || {
        let shown = store.said();
        shown.contains(CONNECTIVITY).then_some(shown)
    });
    assert!(shown.contains("host.name: Str(desk-17.corp.example)"), "{shown}");
    assert!(shown.contains("service.name: Str(windows-events)"), "{shown}");
}
