//! The actions of the Windows Installer package. `Prepare` reads the properties and leaves each of the
//! others its command line; `Run` and `RunIfThere` run one and put what it says into the package's log.

// Elsewhere than on Windows only the tests use it.
#![cfg_attr(not(windows), allow(dead_code))]

mod command_line;
mod plan;
#[cfg(windows)]
mod run;
#[cfg(windows)]
mod session;

#[cfg(windows)]
#[allow(unsafe_code)] // Names that Windows Installer looks for.
mod actions {
    use crate::plan::plan;
    use crate::run::{Failed, run};
    use crate::session::Session;
    use windows_sys::Win32::Foundation::{ERROR_INSTALL_FAILURE, ERROR_SUCCESS};

    /// Decides what the deferred actions do. Runs before anything is changed.
    // SAFETY: no other function of the DLL is called so.
    #[unsafe(no_mangle)]
    pub extern "system" fn Prepare(handle: u32) -> u32 {
        let session = Session(handle);
        let done = plan(|name| session.property(name)).and_then(|plan| {
            plan.into_iter()
                .try_for_each(|(action, line)| session.set_property(action, &line))
                .map_err(|code| format!("Windows Installer refuses a property (error {code})"))
        });
        ended(session, done)
    }

    /// Runs the command line that `Prepare` left for this action.
    // SAFETY: no other function of the DLL is called so.
    #[unsafe(no_mangle)]
    pub extern "system" fn Run(handle: u32) -> u32 {
        let session = Session(handle);
        // A deferred action has one property, with what was left for it.
        let line = session.property("CustomActionData");
        ended(session, run(&line, |said| session.log(said)).map_err(|failed| failed.to_string()))
    }

    /// The same, but a program that is not there has nothing to take back: who ran `mpr-otel uninstall`
    /// has removed it.
    // SAFETY: no other function of the DLL is called so.
    #[unsafe(no_mangle)]
    pub extern "system" fn RunIfThere(handle: u32) -> u32 {
        let session = Session(handle);
        let line = session.property("CustomActionData");
        let done = match run(&line, |said| session.log(said)) {
            Err(Failed::NotThere(program)) => {
                session.log(&format!("{program} is not there, and so was not run"));
                Ok(())
            }
            done => done.map_err(|failed| failed.to_string()),
        };
        ended(session, done)
    }

    fn ended(session: Session, done: Result<(), String>) -> u32 {
        match done {
            Ok(()) => ERROR_SUCCESS,
            Err(problem) => {
                session.error(&problem);
                ERROR_INSTALL_FAILURE
            }
        }
    }
}
