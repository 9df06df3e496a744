//! What leaves the machine and what stays in the ledger, tested through the library.

use mpr_otel_lab::double::{Add, Cancel, ScriptedCall, Step};
use mpr_otel_lab::equipment::stage::{Received, Stage, add, lane, start};
use std::collections::BTreeSet;
use std::fs;

/// Names that contain a secret, and what is left of each if whole names are sent.
fn names_with_secrets() -> Vec<(String, Option<&'static str>, &'static str)> {
    let token = "PATtoken".repeat(40);
    vec![
        (
            "https://QQQQuser:QQQQhunter2@dav.corp.example/x".into(),
            Some("dav.corp.example"),
            "https://dav.corp.example/x",
        ),
        // The `@` is behind the part that is kept.
        (format!("https://QQQQuser:{token}@dav.corp.example/x"), None, "https://"),
        (format!("https://{token}@dav.corp.example/x"), None, "https://"),
        (
            "https://store.corp.example/share?sv=2024&sig=QQQQsas".into(),
            Some("store.corp.example"),
            "https://store.corp.example/share",
        ),
        (
            "https://store.corp.example/share/x#QQQQfragment".into(),
            Some("store.corp.example"),
            "https://store.corp.example/share/x",
        ),
        (
            r"http:\\QQQQuser:QQQQhunter2@dav.corp.example\x".into(),
            Some("dav.corp.example"),
            r"http:\\dav.corp.example\x",
        ),
        (
            "HTTPS:/QQQQuser:QQQQhunter2@dav.corp.example:8443/x".into(),
            Some("dav.corp.example"),
            "HTTPS:/dav.corp.example:8443/x",
        ),
        (r"https://CORP\QQQQuser:QQQQhunter2@dav.corp.example/x".into(), None, "https://"),
        (r"\\QQQQuser:QQQQpass@dav.corp.example\x".into(), None, ""),
        // Not a drive.
        ("u:QQQQpass@dav.corp.example/x".into(), None, ""),
        (
            "\u{feff}https://QQQQuser:QQQQhunter2@dav.corp.example/x".into(),
            None,
            "\u{feff}https://dav.corp.example/x",
        ),
        ("https://QQQQuser:1/QQQQpass@dav.corp.example/x".into(), None, "https://"),
        ("https://QQQQuser:QQQQ#pass@dav.corp.example/x".into(), None, "https://"),
        ("https://QQQQuser%3AQQQQpass%40dav.corp.example/x".into(), None, "https://"),
        ("ftp://QQQQuser:QQQQhunter2@ftp.corp.example/x".into(), None, "ftp://ftp.corp.example/x"),
    ]
}

fn cancel(name: &str) -> Step {
    Step {
        request: ScriptedCall::Cancel(Cancel { name: Some(name.into()), flags: 0, force: false }),
        ..add("")
    }
}

/// The spans that arrive if a host does `steps` with `settings` in its environment.
fn sent(stage: &Stage, settings: &[(&str, &str)], steps: Vec<Step>) -> Vec<Received> {
    let mut command = stage.host();
    command.envs(settings.iter().copied());
    let count = steps.len();
    let (host, report) = start(command, &lane(steps));
    assert_eq!(report.breaches, Vec::<String>::new());
    let spans = stage.spans(count);
    host.end_quietly();
    spans
}

/// Whether the bytes hold `text`, in UTF-16 or UTF-8.
fn holds(bytes: &[u8], text: &str) -> bool {
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [text.as_bytes(), &wide].iter().any(|text| bytes.windows(text.len()).any(|part| part == *text))
}

#[test]
fn no_credential_is_sent_or_stored() {
    let stage = Stage::new();
    let names = names_with_secrets();
    let adds = names.iter().map(|(name, ..)| add(name));
    let cancels = names.iter().map(|(name, ..)| cancel(name));
    // A program can swap its names.
    let swapped = Step {
        request: ScriptedCall::Add(Add {
            remote: Some(r"\\files01\share".into()),
            local: Some("http://QQQQu:QQQQp@dav/x".into()),
            resource_type: 1,
            flags: 0,
        }),
        ..add("")
    };
    let steps: Vec<Step> = adds.chain(cancels).chain([swapped]).collect();
    let spans = sent(&stage, &[("MPR_OTEL_PRIVACY", "full")], steps);

    for secret in ["QQQQ", "PATtoken"] {
        assert!(!format!("{spans:?}").contains(secret), "{secret} was sent");
    }
    for (span, (name, server, left)) in spans.iter().zip(names.iter().chain(&names)) {
        assert_eq!(span.get("mpr.remote.name").unwrap_or_default(), *left, "{name}");
        assert_eq!(span.get("server.address").as_deref(), *server, "{name}");
    }
    let mut ledgers = 0;
    for entry in fs::read_dir(stage.ledgers()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        ledgers += usize::from(holds(&bytes, "store.corp.example/share"));
        for secret in ["QQQQ", "PATtoken"] {
            assert!(!holds(&bytes, secret), "{secret} is in the ledger");
        }
    }
    assert_eq!(ledgers, 1);
}

/// Names below shares, and shares that are private by default.
const NAMES: [&str; 9] = [
    r"\\FS01.corp.example\Projects\BELOW\x",
    r"\\fs01\Home$\BELOW",
    r"\\fs01\jdoe$",
    r"\\fs01\c$\BELOW",
    r"\\fs01\IPC$",
    r"\\corp.example\dfs\Sales\BELOW",
    r"\\tenant.sharepoint.com@SSL\DavWWWRoot\personal\BELOW",
    r"\\tsclient\c\BELOW",
    r"not a name\BELOW",
];

fn attributes(spans: &[Received], key: &str) -> Vec<String> {
    spans.iter().map(|span| span.get(key).unwrap_or_default()).collect()
}

#[test]
fn nothing_below_a_share_and_no_private_share_is_sent_by_default() {
    let stage = Stage::new();
    let settings = [("MPR_OTEL_DFS_ROOTS", r"\\corp.example\dfs")];
    let spans = sent(&stage, &settings, NAMES.map(add).to_vec());
    assert_eq!(
        attributes(&spans, "mpr.remote.name"),
        [
            r"\\FS01.corp.example\Projects",
            r"\\fs01\***",
            r"\\fs01\***",
            r"\\fs01\c$",
            r"\\fs01\IPC$",
            r"\\corp.example\dfs",
            r"\\tenant.sharepoint.com@SSL\DavWWWRoot",
            r"\\tsclient\c",
            "",
        ]
    );
    assert_eq!(
        attributes(&spans, "mpr.share.name"),
        ["Projects", "***", "***", "c$", "IPC$", "dfs", "DavWWWRoot", "c", ""]
    );
    assert_eq!(
        attributes(&spans, "server.address"),
        [
            "fs01.corp.example",
            "fs01",
            "fs01",
            "fs01",
            "fs01",
            "corp.example",
            "tenant.sharepoint.com",
            "",
            ""
        ]
    );
    assert_eq!(
        attributes(&spans, "network.protocol.name"),
        ["", "", "", "", "", "", "webdav", "rdp", ""]
    );
    assert_eq!(attributes(&spans, "mpr.dfs.link").join(""), "Sales");
    assert!(!format!("{spans:?}").contains("BELOW"));
}

#[test]
fn whole_names_or_no_names_are_sent_if_a_setting_says_so() {
    let stage = Stage::new();
    let full = sent(&stage, &[("MPR_OTEL_PRIVACY", "full")], NAMES.map(add).to_vec());
    assert_eq!(attributes(&full, "mpr.remote.name"), NAMES);
    assert_eq!(attributes(&full, "mpr.share.name")[2], "jdoe$");

    let step = |remote: &str| {
        let mut step = add(remote);
        let ScriptedCall::Add(add) = &mut step.request else { unreachable!() };
        add.local = Some("Z:".into());
        step
    };
    let mut steps = NAMES.map(step).to_vec();
    steps.push(cancel("Z:"));
    // Another stage: a host that ends before it has noted an answer leaves its spans to the next
    // one.
    let none = sent(&Stage::new(), &[("MPR_OTEL_PRIVACY", "none")], steps);
    for span in &none {
        for key in ["mpr.remote.name", "mpr.share.name", "mpr.local.name", "mpr.dfs.link"] {
            assert_eq!(span.get(key), None);
        }
    }
    let servers: BTreeSet<String> = attributes(&none, "server.address").into_iter().collect();
    let known = ["", "corp.example", "fs01", "fs01.corp.example", "tenant.sharepoint.com"];
    assert_eq!(servers, known.map(str::to_owned).into());
}

#[test]
fn shares_that_a_setting_names_are_private() {
    let stage = Stage::new();
    let settings = [("MPR_OTEL_PRIVATE_SHARES", "proj*; dfs")];
    let spans = sent(&stage, &settings, NAMES.map(add).to_vec());
    assert_eq!(
        attributes(&spans, "mpr.share.name"),
        ["***", "Home$", "jdoe$", "c$", "IPC$", "***", "DavWWWRoot", "c", ""]
    );
}
