//! The rules of Grafana's dashboard-linter, by its names, and some of our own.
//!
//! Of Grafana's, four do not apply: `template-instance-rule` and `target-instance-rule`, because
//! metrics of operations are sums over machines and have no instance; `target-logql-rule` and
//! `target-logql-auto-rule`, because nothing here reads LogQL. `target-promql-rule` is promtool's
//! here.

use crate::names;
use crate::promql::{self, Query, Selector};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::collections::BTreeSet;

/// What a lint says about a dashboard; nothing if it is as it should be.
pub type Lint = fn(&Value, &Around) -> Vec<String>;

/// What else there is.
pub struct Around {
    /// The `uid` of every dashboard that ships.
    pub uids: Vec<String>,
    /// The name of every recording rule.
    pub recorded: Vec<String>,
}

pub const LINTS: &[(&str, Lint)] = &[
    ("template-datasource-rule", template_datasource),
    ("template-job-rule", template_job),
    ("template-label-promql-rule", template_label_promql),
    ("template-on-time-change-reload-rule", template_on_time_change_reload),
    ("panel-datasource-rule", panel_datasource),
    ("panel-title-description-rule", panel_title_description),
    ("panel-units-rule", panel_units),
    ("panel-no-targets-rule", panel_no_targets),
    ("target-rate-interval-rule", target_rate_interval),
    ("target-job-rule", target_job),
    ("target-counter-agg-rule", target_counter_agg),
    ("uneditable-dashboard", uneditable),
    // Ours.
    ("panel-id", panel_id),
    ("panel-place", panel_place),
    ("variable-defined", variable_defined),
    ("link", link),
    ("trace-link", trace_link),
    ("trace-search", trace_search),
    ("name", name),
    ("latency-exemplars", latency_exemplars),
    ("heatmap-adds-up", heatmap_adds_up),
    ("link-encoded", link_encoded),
    ("markup", markup),
    ("events", events),
];

/// Units of Grafana that the dashboards use.
const UNITS: [&str; 10] = [
    "dateTimeAsIso",
    "short",
    "none",
    "percentunit",
    "s",
    "bytes",
    "cps",
    "opm",
    "dateTimeFromNow",
    "ops",
];
const PROMETHEUS: &str = "${prometheus_datasource}";
const JAEGER: &str = "${jaeger_datasource}";
const LOKI: &str = "${loki_datasource}";

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn variables(dashboard: &Value) -> &[Value] {
    list(dashboard, "/templating/list")
}

/// Panels that show something: all but the headings of rows.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "/panels").iter().filter(|panel| text(panel, "/type") != "row")
}

/// Each PromQL query of a panel, with the panel's title.
pub fn queries(dashboard: &Value) -> impl Iterator<Item = (String, &str)> {
    panels(dashboard).flat_map(|panel| {
        let title = text(panel, "/title");
        let promql = |target: &&Value| text(target, "/datasource/uid") != LOKI;
        let targets = list(panel, "/targets").iter().filter(promql);
        let expressions = targets.map(|target| text(target, "/expr"));
        expressions.filter(|e| !e.is_empty()).map(move |e| (title.to_owned(), e))
    })
}

/// The queries of variables and annotations.
pub fn other_queries(dashboard: &Value) -> Vec<String> {
    let annotations = list(dashboard, "/annotations/list").iter().map(|a| text(a, "/expr"));
    let variables = variables(dashboard).iter().filter(|v| text(v, "/type") == "query");
    // The last argument of `label_values` is a label: it makes a grouping.
    let label_values = variables.filter_map(|variable| {
        let arguments =
            text(variable, "/query").strip_prefix("label_values(")?.strip_suffix(')')?;
        let (selector, label) = arguments.rsplit_once(", ")?;
        Some(format!("count by ({label}) ({selector})"))
    });
    annotations.filter(|e| !e.is_empty()).map(str::to_owned).chain(label_values).collect()
}

fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| strings(value, found)),
        _ => {}
    }
}

fn all_strings(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    strings(value, &mut found);
    found
}

fn each_query(dashboard: &Value, judge: impl Fn(&Query) -> Vec<String>) -> Vec<String> {
    queries(dashboard)
        .flat_map(|(title, text)| {
            let complaints = judge(&promql::read(text));
            complaints.into_iter().map(move |complaint| format!("{title}: {complaint}"))
        })
        .collect()
}

fn each_panel(dashboard: &Value, wrong: impl Fn(&Value) -> Option<String>) -> Vec<String> {
    panels(dashboard)
        .filter_map(|panel| Some(format!("{}: {}", text(panel, "/title"), wrong(panel)?)))
        .collect()
}

fn template_datasource(dashboard: &Value, _: &Around) -> Vec<String> {
    let sources: Vec<_> = variables(dashboard)
        .iter()
        .filter(|variable| text(variable, "/type") == "datasource")
        .map(|variable| {
            (text(variable, "/query"), text(variable, "/name"), text(variable, "/label"))
        })
        .collect();
    // Prometheus first: Grafana's linter judges a dashboard by it.
    let expected = [
        ("prometheus", "prometheus_datasource", "Prometheus data source"),
        ("jaeger", "jaeger_datasource", "Jaeger data source"),
        ("loki", "loki_datasource", "Loki data source"),
    ];
    let asks_loki = panels(dashboard).any(|panel| text(panel, "/datasource/uid") == LOKI);
    let expected = if asks_loki { &expected[..] } else { &expected[..2] };
    if sources == expected { Vec::new() } else { vec![format!("data sources are {sources:?}")] }
}

fn template_job(dashboard: &Value, _: &Around) -> Vec<String> {
    let job = variables(dashboard).iter().find(|variable| text(variable, "/name") == "job");
    let Some(job) = job else { return vec!["there is no variable job".into()] };
    let fine = text(job, "/type") == "query"
        && text(job, "/datasource/uid") == PROMETHEUS
        && text(job, "/label") == "Job"
        && text(job, "/allValue") == ".+"
        && job["multi"] == true;
    if fine { Vec::new() } else { vec![format!("{job}")] }
}

fn template_label_promql(dashboard: &Value, _: &Around) -> Vec<String> {
    let queries = variables(dashboard).iter().filter(|v| text(v, "/type") == "query");
    let wrong = queries.filter(|variable| {
        let query = text(variable, "/query");
        let arguments = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')'));
        arguments.and_then(|arguments| arguments.rsplit_once(", ")).is_none()
            || text(variable, "/definition") != query
    });
    wrong.map(|variable| text(variable, "/name").to_owned()).collect()
}

fn template_on_time_change_reload(dashboard: &Value, _: &Around) -> Vec<String> {
    let queries = variables(dashboard).iter().filter(|v| text(v, "/type") == "query");
    queries.filter(|v| v["refresh"] != 2).map(|v| text(v, "/name").to_owned()).collect()
}

fn panel_datasource(dashboard: &Value, _: &Around) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let sources = list(panel, "/targets").iter().chain([panel]);
        let wrong = sources
            .map(|asked| (text(asked, "/datasource/type"), text(asked, "/datasource/uid")))
            .find(|source| {
                ![("prometheus", PROMETHEUS), ("jaeger", JAEGER), ("loki", LOKI)].contains(source)
            });
        wrong.map(|source| format!("asks {source:?}"))
    })
}

fn panel_title_description(dashboard: &Value, _: &Around) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let missing = text(panel, "/title").is_empty() || text(panel, "/description").is_empty();
        missing.then(|| "has no title or description".into())
    })
}

fn panel_units(dashboard: &Value, _: &Around) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let unit = match text(panel, "/type") {
            "heatmap" => text(panel, "/options/yAxis/unit"),
            _ => text(panel, "/fieldConfig/defaults/unit"),
        };
        let overrides = list(panel, "/fieldConfig/overrides").iter();
        let properties = overrides.flat_map(|o| list(o, "/properties"));
        let units = properties.filter(|p| text(p, "/id") == "unit").map(|p| text(p, "/value"));
        let unknown = units.chain([unit]).find(|unit| !UNITS.contains(unit));
        unknown.map(|unit| format!("has the unit {unit:?}"))
    })
}

fn panel_no_targets(dashboard: &Value, _: &Around) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let targets = list(panel, "/targets");
        let ids: BTreeSet<_> = targets.iter().map(|target| text(target, "/refId")).collect();
        let fine = !targets.is_empty() && ids.len() == targets.len() && !ids.contains("");
        (!fine).then(|| "has no targets, or two of one name".into())
    })
}

fn target_rate_interval(dashboard: &Value, _: &Around) -> Vec<String> {
    each_query(dashboard, |query| {
        let wrong = query.selectors.iter().filter(|selector| {
            let range = selector.range.as_deref();
            match selector.function.as_str() {
                "rate" | "irate" => range != Some("$__rate_interval"),
                "increase" => !matches!(range, Some("$__range" | "$__rate_interval")),
                _ => false,
            }
        });
        wrong.map(|s| format!("{} over {:?}", s.function, s.range)).collect()
    })
}

fn target_job(dashboard: &Value, _: &Around) -> Vec<String> {
    each_query(dashboard, |query| {
        query
            .selectors
            .iter()
            .filter(|selector| !has_its_job(selector))
            .map(|s| format!("{s:?}"))
            .collect()
    })
}

/// How the names of the agents' metrics begin.
const OF_AGENTS: [&str; 5] =
    ["mpr_operation_", "mpr_ledger_", "mpr_store_", "mpr_owner_", "mpr_agent_"];

/// Agents and gateways are jobs of their own; recorded series and alerts have none.
fn has_its_job(selector: &Selector) -> bool {
    let job = match selector.metric.as_str() {
        "ALERTS" => return true,
        metric if metric.contains(':') => return true,
        metric if OF_AGENTS.iter().any(|beginning| metric.starts_with(beginning)) => "${job}-agent",
        metric if metric.starts_with("otelcol_") => "$gateway_job",
        _ => "$job",
    };
    selector.matchers.contains(&("job".into(), "=~".into(), job.into()))
}

fn target_counter_agg(dashboard: &Value, _: &Around) -> Vec<String> {
    each_query(dashboard, |query| {
        let counters = query.selectors.iter().filter(|selector| {
            ["_total", "_bucket", "_sum", "_count"].iter().any(|s| selector.metric.ends_with(s))
                && selector.metric != "otelcol_process_uptime_seconds_total"
        });
        // Counting series, and asking when they were last heard of, is asking for no value. What a
        // counter grew by since an interval ago is the difference of two, unless it began anew.
        let fine = ["rate", "increase", "present_over_time", "timestamp", "count", "clamp_min"];
        let wrong = counters.filter(|s| !fine.contains(&s.function.as_str()));
        wrong.map(|s| format!("{} of the counter {}", s.function, s.metric)).collect()
    })
}

fn uneditable(dashboard: &Value, _: &Around) -> Vec<String> {
    if dashboard["editable"] == false { Vec::new() } else { vec!["can be edited".into()] }
}

fn panel_id(dashboard: &Value, _: &Around) -> Vec<String> {
    let ids: Vec<u64> =
        list(dashboard, "/panels").iter().filter_map(|panel| panel["id"].as_u64()).collect();
    let different: BTreeSet<u64> = ids.iter().copied().collect();
    let fine = ids.len() == list(dashboard, "/panels").len() && different.len() == ids.len();
    if fine { Vec::new() } else { vec![format!("{ids:?}")] }
}

fn panel_place(dashboard: &Value, _: &Around) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut wrong = Vec::new();
    for panel in list(dashboard, "/panels") {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap_or(99);
        let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
        let mut cells = (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column)));
        if x + w > 24 || !cells.all(|cell| taken.insert(cell)) {
            wrong.push(format!("{} lies on another or outside", text(panel, "/title")));
        }
    }
    wrong
}

/// The names after `$` in a string, as Grafana sees them.
fn used_variables(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).filter_map(|after| {
        let inside = after.strip_prefix('{');
        let name = inside.unwrap_or(after);
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
        (end > 0).then(|| &name[..end])
    })
}

fn variable_defined(dashboard: &Value, _: &Around) -> Vec<String> {
    let mut defined: Vec<&str> =
        variables(dashboard).iter().map(|variable| text(variable, "/name")).collect();
    defined.extend(["__all", "__range", "__rate_interval", "__interval", "__from", "__to"]);
    defined.extend(["__data", "__url_time_range"]);
    let strings = all_strings(dashboard);
    let used = strings.iter().flat_map(|text| used_variables(text));
    used.filter(|name| !defined.contains(name)).map(str::to_owned).collect()
}

fn link(dashboard: &Value, around: &Around) -> Vec<String> {
    let own = text(dashboard, "/uid");
    let mut wrong: Vec<String> = Vec::new();
    for text in all_strings(dashboard) {
        let Some(rest) = text.strip_prefix("/d/") else { continue };
        let uid = rest.split(['?', '/']).next().unwrap_or_default();
        if !around.uids.iter().any(|known| known == uid) {
            wrong.push(format!("leads to {uid:?}, which is nowhere"));
        }
    }
    let links = list(dashboard, "/links");
    for uid in around.uids.iter().filter(|uid| *uid != own) {
        let leads = links.iter().find(|link| text(link, "/url") == format!("/d/{uid}"));
        if !leads.is_some_and(|link| link["keepTime"] == true && link["includeVars"] == true) {
            wrong.push(format!("no link to {uid} that keeps time and variables"));
        }
    }
    wrong
}

/// A link to Explore holds the search as JSON.
fn trace_link(dashboard: &Value, _: &Around) -> Vec<String> {
    let links = all_strings(dashboard).into_iter().filter(|text| text.starts_with("/explore?"));
    let wrong = links.filter(|link| {
        let panes = link.split_once("&panes=").map_or("", |(_, panes)| panes);
        let panes = percent_decode_str(panes).decode_utf8_lossy();
        let panes: Value = serde_json::from_str(&panes).unwrap_or_default();
        let search = |pointer: &str| text(&panes, &format!("/traces{pointer}")).to_owned();
        search("/datasource") != JAEGER
            || search("/queries/0/queryType") != "search"
            || search("/queries/0/service") != "mpr-otel"
            || search("/queries/0/tags").is_empty()
            || search("/range/from") != "${__from}"
            || search("/range/to") != "${__to}"
    });
    wrong.collect()
}

fn trace_search(dashboard: &Value, _: &Around) -> Vec<String> {
    const TAGS: [&str; 4] = ["host.name", "server.address", "mpr.outcome", "error.type"];
    each_panel(dashboard, |panel| {
        if text(panel, "/datasource/uid") != JAEGER {
            return None;
        }
        let wrong = list(panel, "/targets").iter().find(|target| {
            let tags = text(target, "/tags");
            let known = |tag: &str| tag.split_once('=').is_some_and(|(key, _)| TAGS.contains(&key));
            text(target, "/queryType") != "search"
                || text(target, "/service") != "mpr-otel"
                || tags.is_empty()
                || !tags.split(' ').all(known)
                || target["limit"].as_u64().is_none()
        });
        wrong.map(|target| format!("searches {target}"))
    })
}

fn name(dashboard: &Value, around: &Around) -> Vec<String> {
    let mut complaints = each_query(dashboard, |query| names::unknown(query, &around.recorded));
    for query in other_queries(dashboard) {
        complaints.extend(names::unknown(&promql::read(&query), &around.recorded));
    }
    complaints
}

/// Quantiles over time lead to single operations. Those are the same for each quantile of a panel, so one
/// of its queries asks for them.
fn latency_exemplars(dashboard: &Value, _: &Around) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let over_time = text(panel, "/type") == "timeseries";
        let targets = list(panel, "/targets").iter();
        let asks: Vec<bool> = targets
            .filter(|target| text(target, "/expr").starts_with("histogram_quantile"))
            .map(|target| target["exemplar"] == true)
            .collect();
        let once = asks.iter().filter(|asks| **asks).count() == 1;
        (over_time && !asks.is_empty() && !once).then(|| "has not its exemplars once".into())
    })
}

/// What a link takes from a row is a name that anybody may have chosen.
fn link_encoded(dashboard: &Value, _: &Around) -> Vec<String> {
    let strings = all_strings(dashboard).into_iter();
    let links = strings.filter(|text| text.starts_with("/d/") || text.starts_with("/explore?"));
    let bare = |link: &String| {
        link.split("${__data.").skip(1).any(|field| {
            field.split_once('}').is_none_or(|(field, _)| !field.ends_with(":percentencode"))
        })
    };
    links.filter(bare).collect()
}

/// Such a name is drawn as text: no panel, cell or annotation renders markup.
fn markup(dashboard: &Value, _: &Around) -> Vec<String> {
    let mut wrong = each_panel(dashboard, |panel| {
        let drawn = ["text", "news", "html"].contains(&text(panel, "/type"));
        drawn.then(|| "renders markup".into())
    });
    let cells = ["markdown", "html", "json-view"];
    wrong.extend(all_strings(dashboard).into_iter().filter(|text| cells.contains(&text.as_str())));
    wrong
}

/// Events are those of machine.yaml.
fn events(dashboard: &Value, _: &Around) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let targets = list(panel, "/targets").iter();
        let mut asked = targets.filter(|target| text(target, "/datasource/uid") == LOKI);
        let wrong = asked
            .find(|target| !text(target, "/expr").contains(r#"{service_name="windows-events"}"#));
        wrong.map(|target| format!("asks for {}", text(target, "/expr")))
    })
}

/// `increase` and `rate` extrapolate: of one operation they make 1.3, or none. The differences of the
/// counter itself add up.
fn heatmap_adds_up(dashboard: &Value, _: &Around) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let exact = list(panel, "/targets").iter().all(|target| {
            let query = text(target, "/expr");
            query.contains("offset $__interval") && !query.contains("[")
        });
        (text(panel, "/type") == "heatmap" && !exact).then(|| "does not add up".into())
    })
}
