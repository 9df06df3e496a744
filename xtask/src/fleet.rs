//! The fleet's side: the Collector, Prometheus, Alertmanager and a trace backend, built from source,
//! and the tests that run them.

use crate::cargo::cargo;
use crate::go::Go;
use crate::packages::Need;
use crate::run::{Log, Run};
use crate::under_test::{PACKAGES, under_test};
use crate::{Result, dist, folder, lab, packages};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The variable that names the folder with the tools.
pub const TOOLS: &str = "MPR_OTEL_TEST_FLEET";

/// The load balancer of deploy/scaled and deploy/identity.
const HAPROXY: Need = Need {
    name: "haproxy",
    packages: &["haproxy"],
    is_there: || folder::program("haproxy").is_some(),
};

/// Checks units of systemd. No unit is started.
const SYSTEMD: Need = Need {
    name: "systemd-analyze",
    packages: &["systemd"],
    is_there: || folder::program("systemd-analyze").is_some(),
};

/// The highest exposure that `systemd-analyze security` may find in the gateway's unit, in tenths.
/// 0 is the best, and 10.0 is a unit without any protection. A network service always keeps about
/// 1.
const EXPOSURE: &str = "20";

/// The tests that run the servers: one file of tests/ each. In Cargo.toml they have `test = false`.
const TESTS: [&str; 5] = ["alertmanager", "collector", "dashboards", "view", "rude"];

/// The Collector's builder. Its version is that of the components in builder.yaml.
const BUILDER: &str = "go.opentelemetry.io/collector/cmd/builder@v0.158.0";
/// This is version 3.14 of Prometheus; its Go module has another number.
const PROMETHEUS: &str = "github.com/prometheus/prometheus@v0.314.0";
/// Built without service discovery, which is most of its code and is not needed for pushed metrics.
const PROMETHEUS_TAGS: &str = "remove_all_sd,netgo";
const ALERTMANAGER: &str = "github.com/prometheus/alertmanager@v0.35.0";
/// The folder in which Alertmanager's build needs its web pages. Its module has only the pages'
/// sources.
const ALERTMANAGER_PAGES: [&str; 3] = ["ui", "app", "dist"];
/// A trace backend in one program, with its storage in memory.
const JAEGER: &str = "github.com/jaegertracing/jaeger@v1.76.0";
/// Reads dashboards/mixin.libsonnet.
const JSONNET: &str = "github.com/google/go-jsonnet@v0.22.0";
/// Reads GitHub's workflows.
const ACTIONLINT: &str = "github.com/rhysd/actionlint@v1.7.12";

/// Runs only the fleet's tests.
pub fn test() -> Result<ExitCode> {
    let mut run = Run::new()?;
    steps(&mut run);
    Ok(run.finish())
}

/// Builds the servers, for a command that needs them and does not test.
pub fn ensure() -> Result<()> {
    let mut run = Run::aside()?;
    if build(&mut run) { Ok(()) } else { Err("the servers could not be built".into()) }
}

/// Draws README's picture.
pub fn picture() -> Result<ExitCode> {
    let mut run = Run::new()?;
    if build(&mut run) {
        run.step("build release", |log| log.run(&mut lab::build()));
        run.step("picture", |log| {
            let mut draw = cargo(&["run", "--package", "mpr-otel-fleet", "--bin", "picture", "--"]);
            draw.arg(lab::program()).arg(folder::root().join("docs").join("overview.svg"));
            log.run(draw.env(TOOLS, tools()))
        });
    }
    Ok(run.finish())
}

/// Builds the tools and runs the tests that need them.
pub fn steps(run: &mut Run) {
    run.step("check workflows", |log| {
        let go = Go::ensure(log)?;
        built("actionlint", ACTIONLINT, log, |log| {
            compile(&go, ACTIONLINT, "./cmd/actionlint", "netgo", "actionlint", log)
        })?;
        // Otherwise it would check scripts with these programs if the machine has them.
        let others = ["-shellcheck=", "-pyflakes="];
        log.run(Command::new(tools().join("actionlint")).args(others).args(workflows()?))
    });
    run.step("check balancer", |log| {
        packages::ensure(&[HAPROXY], log)?;
        let config = folder::root().join("deploy").join("scaled").join("haproxy.cfg");
        log.run(Command::new("haproxy").arg("-c").arg("-f").arg(config))
    });
    run.step("check unit", |log| {
        packages::ensure(&[SYSTEMD], log)?;
        check_unit(log)
    });
    if build(run) {
        // The simulations send as much as they can, so they use the release build.
        run.step("build release", |log| log.run(cargo(&["build", "--release"]).args(PACKAGES)));
        run.step("lint fleet", |log| {
            let clippy = ["clippy", "--package", "mpr-otel-tests"];
            log.run(cargo(&clippy).args(named()).args(["--", "-D", "warnings"]))
        });
        run.step("fleet", |log| {
            let mut tests = cargo(&["test", "--package", "mpr-otel-tests"]);
            tests.args(named()).env(TOOLS, tools());
            log.run(under_test(&mut tests, "release"))?;
            log.note_results()
        });
    }
}

/// Checks the gateway's unit of systemd: systemd understands it, and its exposure is low enough.
fn check_unit(log: &mut Log) -> Result<()> {
    let (name, program) = ("otelcol-mpr.service", "/usr/local/bin/otelcol-mpr");
    let unit = fs::read_to_string(folder::root().join("deploy").join("linux").join(name))?;
    if !unit.contains(&format!("ExecStart={program} ")) {
        return Err(format!("{name} does not start {program}").into());
    }
    let copy = fresh("unit")?.join(name);
    // A program that does not exist would count as a fault of the unit.
    fs::write(&copy, unit.replace(program, "/bin/true"))?;
    log.run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy))?;
    // It names every line that it does not understand, and ignores the line; systemd does the same.
    let said = log.text()?;
    if let Some(line) = said.lines().find(|line| line.contains(&format!("{name}:"))) {
        return Err(line.to_owned().into());
    }
    let threshold = format!("--threshold={EXPOSURE}");
    let security = ["security", "--offline=true", "--no-pager", &threshold];
    log.run(Command::new("systemd-analyze").args(security).arg(&copy))?;
    let exposure = log.text()?;
    let line = exposure.lines().rfind(|line| line.contains("Overall exposure level"));
    log.note(line.unwrap_or_default().trim_start_matches(['→', ' ']));
    Ok(())
}

/// Builds the tools that are missing. Returns whether all exist.
pub fn build(run: &mut Run) -> bool {
    let mut go = None;
    run.step("prepare go", |log| {
        go = Some(Go::ensure(log)?);
        Ok(())
    });
    let Some(go) = go else { return false };
    // All are tried, so that one run shows all failures.
    [
        run.step("build collector", |log| collectors(&go, log)),
        run.step("build prometheus", |log| prometheus(&go, log)),
        run.step("build alertmanager", |log| alertmanager(&go, log)),
        run.step("build jaeger", |log| jaeger(&go, log)),
        run.step("build jsonnet", |log| jsonnet(&go, log)),
        run.step("build kafka", |log| kafka(&go, log)),
    ]
    .iter()
    .all(|built| *built)
}

/// The folder of the tools: `otelcol-mpr`, `otelcol-mpr-kafka`, `prometheus`, `promtool`,
/// `alertmanager`, `amtool`, `jaeger`, `jsonnet`, `kafka` and `actionlint`.
pub fn tools() -> PathBuf {
    home().join("bin")
}

/// GitHub's workflows.
fn workflows() -> Result<Vec<PathBuf>> {
    let folder = folder::root().join(".github").join("workflows");
    let files = fs::read_dir(&folder)
        .map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    Ok(files.map(|file| file.map(|file| file.path())).collect::<std::io::Result<_>>()?)
}

fn home() -> PathBuf {
    folder::target().join("fleet")
}

/// `--test` and the name of each test.
fn named() -> impl Iterator<Item = &'static str> {
    TESTS.into_iter().flat_map(|test| ["--test", test])
}

fn collectors(go: &Go, log: &mut Log) -> Result<()> {
    collector(go, "otelcol-mpr", &["collector-config"], log)?;
    collector(go, "otelcol-mpr-kafka", &["deploy", "scaled"], log)
}

/// Builds the Collector `name` from the builder.yaml in `folder`.
fn collector(go: &Go, name: &str, folder: &[&str], log: &mut Log) -> Result<()> {
    let config = folder::root().join(folder.iter().collect::<PathBuf>()).join("builder.yaml");
    let recipe = format!("{BUILDER}\n{}", fs::read_to_string(&config)?);
    built(name, &recipe, log, |log| {
        // The builder writes into its working folder.
        let folder = fresh(name)?;
        let config = config.to_string_lossy();
        log.run(&mut go.command(&folder, &["run", BUILDER, "--config", config.as_ref()]))?;
        install(&folder.join(name).join(name), name)
    })
}

/// Builds a broker for the tests.
fn kafka(go: &Go, log: &mut Log) -> Result<()> {
    let source = folder::root().join("tests").join("kafka");
    let recipe = ["go.mod", "main.go"].map(|file| fs::read_to_string(source.join(file)));
    let [module, main] = recipe;
    built("kafka", &(module? + &main?), log, |log| {
        let output = fresh("kafka")?.join("kafka");
        log.run(go.command(&source, &["build", "-mod=readonly", "-o"]).arg(&output).arg("."))?;
        install(&output, "kafka")
    })
}

fn prometheus(go: &Go, log: &mut Log) -> Result<()> {
    let recipe = format!("{PROMETHEUS} {PROMETHEUS_TAGS}");
    for name in ["prometheus", "promtool"] {
        built(name, &recipe, log, |log| {
            compile(go, PROMETHEUS, &format!("./cmd/{name}"), PROMETHEUS_TAGS, name, log)
        })?;
    }
    Ok(())
}

/// Builds Alertmanager without its web pages, because notifications do not need them.
fn alertmanager(go: &Go, log: &mut Log) -> Result<()> {
    built("amtool", ALERTMANAGER, log, |log| {
        compile(go, ALERTMANAGER, "./cmd/amtool", "netgo", "amtool", log)
    })?;
    built("alertmanager", ALERTMANAGER, log, |log| {
        // Go's cache is read-only, so the source is copied.
        let source = fresh("alertmanager-source")?;
        dist::copy(&go.module(ALERTMANAGER, log)?, &source)?;
        let pages = source.join(ALERTMANAGER_PAGES.iter().collect::<PathBuf>());
        fs::create_dir_all(&pages)?;
        fs::write(pages.join("none.html"), "")?;
        compile_in(go, &source, "./cmd/alertmanager", "netgo", "alertmanager", log)
    })
}

fn jaeger(go: &Go, log: &mut Log) -> Result<()> {
    built("jaeger", JAEGER, log, |log| {
        compile(go, JAEGER, "./cmd/all-in-one", "netgo", "jaeger", log)
    })
}

fn jsonnet(go: &Go, log: &mut Log) -> Result<()> {
    built("jsonnet", JSONNET, log, |log| {
        compile(go, JSONNET, "./cmd/jsonnet", "netgo", "jsonnet", log)
    })
}

/// Builds a program in its module's folder, because `go install` refuses a go.mod with
/// replacements.
fn compile(go: &Go, module: &str, of: &str, tags: &str, name: &str, log: &mut Log) -> Result<()> {
    compile_in(go, &go.module(module, log)?, of, tags, name, log)
}

/// Builds a program of the module in the folder `source`.
fn compile_in(
    go: &Go,
    source: &Path,
    of: &str,
    tags: &str,
    name: &str,
    log: &mut Log,
) -> Result<()> {
    let output = fresh(name)?.join(name);
    let flags = ["build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-tags", tags];
    log.run(go.command(source, &flags).arg("-o").arg(&output).arg(of))?;
    install(&output, name)
}

/// Runs `build`, unless the program of this recipe exists already.
fn built(
    name: &str,
    recipe: &str,
    log: &mut Log,
    build: impl FnOnce(&mut Log) -> Result<()>,
) -> Result<()> {
    let stamp = tools().join(format!("{name}.recipe"));
    if tools().join(name).is_file() && fs::read_to_string(&stamp).is_ok_and(|then| then == recipe) {
        log.note(format!("{name} is there"));
        return Ok(());
    }
    build(log)?;
    fs::write(&stamp, recipe)?;
    let size = fs::metadata(tools().join(name))?.len();
    log.note(format!("{name}: {} MiB", size >> 20));
    Ok(())
}

/// An empty folder to build in.
fn fresh(name: &str) -> Result<PathBuf> {
    let folder = home().join("build").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Puts a program among the tools in one step, so that a half-written program is never run.
fn install(program: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(tools())?;
    fs::rename(program, tools().join(name))
        .map_err(|error| format!("{} was not built: {error}", program.display()).into())
}
