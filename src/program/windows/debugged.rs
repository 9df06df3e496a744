//! A program that is debugged so that it stops at its end, with all its handles open.
//!
//! Windows documents that after `EXIT_PROCESS_DEBUG_EVENT` the process' handles stay open until
//! its debugger continues it ("Debugging Events").

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use windows_sys::Win32::Foundation::{
    DBG_CONTINUE, DBG_EXCEPTION_NOT_HANDLED, EXCEPTION_BREAKPOINT, HANDLE, STATUS_WX86_BREAKPOINT,
};
use windows_sys::Win32::Storage::FileSystem::GetFinalPathNameByHandleW;
use windows_sys::Win32::System::Diagnostics::Debug::{
    CREATE_PROCESS_DEBUG_EVENT, ContinueDebugEvent, DEBUG_EVENT, EXCEPTION_DEBUG_EVENT,
    EXIT_PROCESS_DEBUG_EVENT, LOAD_DLL_DEBUG_EVENT, WaitForDebugEvent,
};
use windows_sys::Win32::System::Threading::{DEBUG_ONLY_THIS_PROCESS, INFINITE};

/// A program at its end. It ends completely when this is dropped or released.
#[derive(Debug)]
pub(crate) struct Debugged {
    program: Option<Child>,
    /// The process and the thread that wait until the debugger continues them.
    held: Option<(u32, u32)>,
    /// File names of the DLLs that it loaded.
    pub(crate) loaded: Vec<OsString>,
}

impl Debugged {
    /// Runs a program to its end, however long that takes. This thread is its debugger and must not
    /// debug another program at the same time.
    pub(crate) fn run(command: &mut Command) -> io::Result<Self> {
        let program = command.creation_flags(DEBUG_ONLY_THIS_PROCESS).spawn()?;
        let mut debugged = Self { program: Some(program), held: None, loaded: Vec::new() };
        loop {
            let mut event = DEBUG_EVENT::default();
            // SAFETY: `event` is writable.
            if unsafe { WaitForDebugEvent(&mut event, INFINITE) } == 0 {
                return Err(io::Error::last_os_error());
            }
            debugged.held = Some((event.dwProcessId, event.dwThreadId));
            let mut answer = DBG_CONTINUE;
            match event.dwDebugEventCode {
                CREATE_PROCESS_DEBUG_EVENT => {
                    // SAFETY: the code says which of the union's members is there.
                    let _ = file_name(unsafe { event.u.CreateProcessInfo.hFile });
                }
                LOAD_DLL_DEBUG_EVENT => {
                    // SAFETY: as above.
                    debugged.loaded.extend(file_name(unsafe { event.u.LoadDll.hFile }));
                }
                EXCEPTION_DEBUG_EVENT => {
                    // SAFETY: as above.
                    let code = unsafe { event.u.Exception.ExceptionRecord.ExceptionCode };
                    // Windows stops each debugged program once at its start, and a 32-bit program
                    // twice.
                    if ![EXCEPTION_BREAKPOINT, STATUS_WX86_BREAKPOINT].contains(&code) {
                        answer = DBG_EXCEPTION_NOT_HANDLED;
                    }
                }
                EXIT_PROCESS_DEBUG_EVENT => return Ok(debugged),
                _ => {}
            }
            debugged.continue_with(answer);
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.program.as_ref().map_or(0, Child::id)
    }

    /// Lets the program end, and reads its output.
    pub(crate) fn release(mut self) -> io::Result<Output> {
        self.continue_with(DBG_CONTINUE);
        match self.program.take() {
            Some(program) => program.wait_with_output(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn continue_with(&mut self, answer: i32) {
        if let Some((process, thread)) = self.held.take() {
            // SAFETY: takes numbers only.
            unsafe { ContinueDebugEvent(process, thread, answer) };
        }
    }
}

impl Drop for Debugged {
    fn drop(&mut self) {
        if let Some(program) = &mut self.program {
            // The program may have ended already.
            let _ = program.kill();
        }
        self.continue_with(DBG_CONTINUE);
    }
}

/// The name of an event's file. The debugger has to close the file's handle.
fn file_name(file: HANDLE) -> Option<OsString> {
    if file.is_null() {
        return None;
    }
    // SAFETY: the event's handle is open and has no other owner.
    let _owner = unsafe { OwnedHandle::from_raw_handle(file) };
    let mut path = [0_u16; 1024];
    // SAFETY: the handle is open; at most as many units are written as `path` has.
    let units = unsafe { GetFinalPathNameByHandleW(file, path.as_mut_ptr(), path.len() as u32, 0) };
    let path = PathBuf::from(OsString::from_wide(path.get(..units as usize)?));
    path.file_name().map(Into::into)
}
