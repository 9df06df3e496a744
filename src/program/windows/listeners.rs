//! The processes that listen on a TCP port of this machine.

use crate::listener::Listener;
use mpr_otel_core::platform;
use std::io;
use std::mem::offset_of;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use windows_registry::LOCAL_MACHINE;
use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, ERROR_MORE_DATA, ERROR_SUCCESS};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, MIB_TCP6ROW_OWNER_PID, MIB_TCP6TABLE_OWNER_PID, MIB_TCPROW_OWNER_PID,
    MIB_TCPTABLE_OWNER_PID, TCP_TABLE_OWNER_PID_LISTENER,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};
use windows_sys::Win32::System::Services::{
    CloseServiceHandle, ENUM_SERVICE_STATUS_PROCESSW, EnumServicesStatusExW, OpenSCManagerW,
    SC_ENUM_PROCESS_INFO, SC_HANDLE, SC_MANAGER_ENUMERATE_SERVICE, SERVICE_ACTIVE, SERVICE_WIN32,
};
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
};

/// The kernel's process id. The sockets of http.sys belong to the kernel.
const SYSTEM_PROCESS: u32 = 4;
/// How often the table is asked for, because it may grow between two calls.
const ATTEMPTS: usize = 5;

/// The processes that listen on `port`, at any address of any family. So the process that a program
/// reaches by `localhost` is among them.
pub(crate) fn listeners(port: u16) -> io::Result<Vec<Listener>> {
    let mut processes: Vec<u32> = Vec::new();
    let table = table(AF_INET.into())?;
    let at = offset_of!(MIB_TCPTABLE_OWNER_PID, table);
    for row in rows::<MIB_TCPROW_OWNER_PID>(&table, at) {
        processes.extend((port_of(row.dwLocalPort) == port).then_some(row.dwOwningPid));
    }
    let table = self::table(AF_INET6.into())?;
    let at = offset_of!(MIB_TCP6TABLE_OWNER_PID, table);
    for row in rows::<MIB_TCP6ROW_OWNER_PID>(&table, at) {
        processes.extend((port_of(row.dwLocalPort) == port).then_some(row.dwOwningPid));
    }
    processes.sort_unstable();
    processes.dedup();
    Ok(processes.into_iter().map(listener).collect())
}

/// The port in a row: the low 16 bits, in network byte order.
fn port_of(field: u32) -> u16 {
    u16::from_be((field & 0xFFFF) as u16)
}

/// The table of all listening sockets, in memory that is aligned for it.
fn table(family: u32) -> io::Result<Vec<u32>> {
    let mut buffer = vec![0_u32; 1024];
    for _ in 0..ATTEMPTS {
        let mut bytes = size_of_val(buffer.as_slice()) as u32;
        // SAFETY: writes at most `bytes` bytes, which `buffer` has; `bytes` is writable.
        let code = unsafe {
            GetExtendedTcpTable(
                buffer.as_mut_ptr().cast(),
                &mut bytes,
                0,
                family,
                TCP_TABLE_OWNER_PID_LISTENER,
                0,
            )
        };
        match code {
            ERROR_SUCCESS => return Ok(buffer),
            // With some extra room, because the table may grow before the next call.
            ERROR_INSUFFICIENT_BUFFER => buffer.resize((bytes as usize).div_ceil(4) + 1024, 0),
            code => return Err(io::Error::from_raw_os_error(code.cast_signed())),
        }
    }
    Err(io::ErrorKind::OutOfMemory.into())
}

/// The rows of a table. They begin `at` bytes after its start, and the number of rows is at the
/// start. Rows consist only of integers.
fn rows<Row: Copy>(table: &[u32], at: usize) -> impl Iterator<Item = Row> {
    let room = (size_of_val(table) - at) / size_of::<Row>();
    let count = table.first().map_or(0, |count| *count as usize).min(room);
    let first = table.as_ptr().wrapping_byte_add(at).cast::<Row>();
    // SAFETY: `count` rows behind `at` lie in the table, which lives as long as they are read; any
    // bytes are a row.
    (0..count).map(move |row| unsafe { first.wrapping_add(row).read_unaligned() })
}

fn listener(process: u32) -> Listener {
    let opened = open(process);
    let program = opened.as_ref().and_then(|process| image(process).ok());
    let account = match process {
        SYSTEM_PROCESS => Some("LocalSystem".to_owned()),
        // A service may not open another service's process, but it may ask which services there
        // are.
        process => {
            service_account(process).or_else(|| platform::user_sid_of(opened.as_ref()?).ok())
        }
    };
    Listener { process, program, account }
}

fn open(process: u32) -> Option<OwnedHandle> {
    // SAFETY: takes numbers only.
    let handle = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, process) };
    // SAFETY: it was opened just now, and nobody else closes it.
    (!handle.is_null()).then(|| unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// The path of a process' program.
fn image(process: &OwnedHandle) -> io::Result<String> {
    let mut path = [0_u16; 1024];
    let mut units = path.len() as u32;
    // SAFETY: the handle is open; writes at most `units` units, which `path` has; `units` is writable.
    let done = unsafe {
        QueryFullProcessImageNameW(process.as_raw_handle(), 0, path.as_mut_ptr(), &mut units)
    };
    match path.get(..units as usize) {
        Some(path) if done != 0 => Ok(String::from_utf16_lossy(path)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The account of the service that runs in this process. Every user can read it in the registry.
fn service_account(process: u32) -> Option<String> {
    let name = services().ok()?.into_iter().find(|(_, id)| *id == process)?.0;
    let key = LOCAL_MACHINE.open(format!(r"SYSTEM\CurrentControlSet\Services\{name}")).ok()?;
    key.get_string("ObjectName").ok()
}

/// The running services, and their processes.
fn services() -> io::Result<Vec<(String, u32)>> {
    let manager = Manager::open()?;
    let mut buffer = vec![0_u64; 8 * 1024];
    for _ in 0..ATTEMPTS {
        let (mut needed, mut count, mut resume) = (0, 0, 0);
        let bytes = size_of_val(buffer.as_slice()) as u32;
        // SAFETY: the manager is open; writes at most `bytes` bytes, which `buffer` has; the three
        // numbers are writable; no group is named.
        let done = unsafe {
            EnumServicesStatusExW(
                manager.0,
                SC_ENUM_PROCESS_INFO,
                SERVICE_WIN32,
                SERVICE_ACTIVE,
                buffer.as_mut_ptr().cast(),
                bytes,
                &mut needed,
                &mut count,
                &mut resume,
                std::ptr::null(),
            )
        };
        if done != 0 {
            let first = buffer.as_ptr().cast::<ENUM_SERVICE_STATUS_PROCESSW>();
            let services = (0..count as usize).map(|at| {
                // SAFETY: Windows wrote `count` of them to the start of the buffer, which is aligned
                // for them.
                let service = unsafe { first.wrapping_add(at).read() };
                // SAFETY: the name lies in the same buffer, and ends in NUL.
                let name = unsafe { text(service.lpServiceName) };
                (name, service.ServiceStatusProcess.dwProcessId)
            });
            return Ok(services.collect());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(ERROR_MORE_DATA.cast_signed()) {
            return Err(error);
        }
        buffer.resize(buffer.len() + (needed as usize).div_ceil(8) + 1024, 0);
    }
    Err(io::ErrorKind::OutOfMemory.into())
}

/// A text that ends in NUL.
///
/// # Safety
///
/// `units` leads to such a text.
unsafe fn text(units: *const u16) -> String {
    let mut length = 0;
    // SAFETY: no unit behind the NUL is read.
    while unsafe { units.wrapping_add(length).read() } != 0 {
        length += 1;
    }
    // SAFETY: so many units are there.
    String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(units, length) })
}

/// The service manager, open.
struct Manager(SC_HANDLE);

impl Manager {
    fn open() -> io::Result<Self> {
        // SAFETY: NULL stands for this machine and its services.
        let manager = unsafe {
            OpenSCManagerW(std::ptr::null(), std::ptr::null(), SC_MANAGER_ENUMERATE_SERVICE)
        };
        if manager.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self(manager)) }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // SAFETY: it is ours, and goes with `self`.
        unsafe { CloseServiceHandle(self.0) };
    }
}
