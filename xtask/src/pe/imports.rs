//! The DLLs that the notification DLL imports: `src/dll/imports-*.txt` list them.

use std::collections::{BTreeMap, BTreeSet};

/// DLLs that every program on Windows 10 and later gets from System32, whatever is in its own
/// folder. They are the values of `HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\KnownDLLs`
/// that may be needed here, and ntdll, which the kernel maps into a process first.
const KNOWN: [&str; 14] = [
    "advapi32.dll",
    "combase.dll",
    "gdi32.dll",
    "kernel32.dll",
    "msvcrt.dll",
    "ntdll.dll",
    "ole32.dll",
    "oleaut32.dll",
    "rpcrt4.dll",
    "sechost.dll",
    "shell32.dll",
    "shlwapi.dll",
    "user32.dll",
    "ws2_32.dll",
];

/// The loader has a table for these names, so it looks for no file.
const API_SET: &str = "api-ms-win-";

/// Whether a file in a program's folder can never replace this DLL.
fn is_known(name: &str) -> bool {
    KNOWN.contains(&name) || name.starts_with(API_SET)
}

/// The differences between `imports` and the `list`. The list has a name on each line. If the DLL
/// is not a known one, a colon and the reason follow.
pub fn complaints(list: &str, imports: &BTreeSet<String>) -> Vec<String> {
    let mut listed = BTreeMap::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, reason) = line.split_once(':').unwrap_or((line, ""));
        listed.insert(name.trim(), reason.trim());
    }
    let mut complaints = Vec::new();
    for name in imports.iter().filter(|name| !listed.contains_key(name.as_str())) {
        complaints.push(format!("it imports {name}, which is not listed"));
    }
    for (name, reason) in listed {
        if !imports.contains(name) {
            complaints.push(format!("it no longer imports {name}; remove the line"));
        } else if !is_known(name) && reason.is_empty() {
            complaints.push(format!(
                "{name} is neither a KnownDLL nor an API set; do not import it, or give the reason"
            ));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints_of(list: &str, imports: &[&str]) -> Vec<String> {
        complaints(list, &imports.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn the_list_is_what_is_imported() {
        let list = "# Comment.\nkernel32.dll\nbcryptprimitives.dll: HashMap's keys\n";
        let imports = ["kernel32.dll", "bcryptprimitives.dll"];
        assert_eq!(complaints_of(list, &imports), [""; 0]);
        assert_eq!(
            complaints_of(list, &["kernel32.dll", "bcryptprimitives.dll", "version.dll"]),
            ["it imports version.dll, which is not listed"]
        );
        assert_eq!(
            complaints_of(list, &["kernel32.dll"]),
            ["it no longer imports bcryptprimitives.dll; remove the line"]
        );
    }

    #[test]
    fn a_dll_that_a_file_in_a_folder_could_replace_needs_a_reason() {
        let known = "kernel32.dll\napi-ms-win-core-synch-l1-2-0.dll\n";
        assert_eq!(
            complaints_of(known, &["kernel32.dll", "api-ms-win-core-synch-l1-2-0.dll"]),
            [""; 0]
        );
        assert_eq!(complaints_of("secur32.dll\n", &["secur32.dll"]).len(), 1);
        assert_eq!(complaints_of("secur32.dll:\n", &["secur32.dll"]).len(), 1);
        assert_eq!(complaints_of("secur32.dll: TLS\n", &["secur32.dll"]), [""; 0]);
    }
}
