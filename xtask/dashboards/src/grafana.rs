//! A dashboard as Grafana imports it.

use crate::source::{Board, Kind, Number, Panel, Search, Series, Signal, Source};
use crate::{Error, Result, promql};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How wide a dashboard is.
const WIDTH: u32 = 24;
/// What is percent-encoded in a link: all but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The kind of data source that answers queries of metrics.
const METRICS: &str = "prometheus";

/// A dashboard.
///
/// # Errors
/// It names what there is not.
pub fn dashboard(source: &Source, board: &Board) -> Result<Value> {
    let mut variables = vec![data_source_variable(METRICS), data_source_variable(traces(source)?)];
    for name in &board.variables {
        variables.push(variable(source, name)?);
    }
    Ok(json!({
        "uid": board.uid,
        "title": format!("mpr-otel / {}", board.title),
        "description": board.description,
        "tags": ["mpr-otel"],
        "editable": false,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "1m",
        "time": { "from": board.from, "to": "now" },
        "timezone": "",
        "timepicker": {},
        "links": source.boards.iter().filter(|other| other.uid != board.uid).map(link).collect::<Vec<_>>(),
        "annotations": { "list": annotations(board) },
        "templating": { "list": variables },
        "panels": panels(source, board)?,
    }))
}

/// The kind of data source that keeps traces.
fn traces(source: &Source) -> Result<&str> {
    match source.parameter("traces")? {
        kind @ ("jaeger" | "tempo") => Ok(kind),
        other => Err(Error::new("traces", format!("{other:?} is neither jaeger nor tempo"))),
    }
}

fn data_source(kind: &str) -> Value {
    json!({ "type": kind, "uid": format!("${{{kind}_datasource}}") })
}

fn data_source_variable(kind: &str) -> Value {
    let name = [&kind[..1].to_ascii_uppercase(), &kind[1..]].concat();
    json!({
        "name": format!("{kind}_datasource"),
        "label": format!("{name} data source"),
        "type": "datasource",
        "query": kind,
        "current": {},
        "hide": 0,
        "includeAll": false,
        "multi": false,
        "options": [],
        "refresh": 1,
        "regex": "",
        "skipUrlSync": false,
    })
}

fn variable(source: &Source, name: &str) -> Result<Value> {
    let variable = source.signals.variables.get(name);
    let variable =
        variable.ok_or_else(|| Error::new("signals.yaml", format!("no variable {name:?}")))?;
    let values = source.expand(&variable.values)?;
    let chosen =
        |text: &str, value: &str| json!({ "selected": true, "text": text, "value": value });
    let current = match (&variable.first, &variable.all) {
        (Some(first), _) => {
            let first = source.expand(first)?;
            chosen(&first, &first)
        }
        (None, Some(_)) => chosen("All", "$__all"),
        (None, None) => json!({}),
    };
    let many = variable.all.is_some();
    let mut made = json!({
        "name": name,
        "label": variable.label,
        "description": variable.description,
        "type": "query",
        "datasource": data_source(METRICS),
        "definition": values,
        "query": values,
        "current": current,
        "hide": 0,
        "includeAll": many,
        "multi": many,
        "options": [],
        "refresh": 2,
        "regex": "",
        "skipUrlSync": false,
        "sort": 1,
    });
    match &variable.all {
        Some(pattern) => made["allValue"] = json!(pattern),
        None => made["allowCustomValue"] = json!(true),
    }
    Ok(made)
}

/// A link to another dashboard.
fn link(other: &Board) -> Value {
    json!({
        "title": other.title,
        "type": "link",
        "url": format!("/d/{}", other.uid),
        "icon": "dashboard",
        "tags": [],
        "asDropdown": false,
        "includeVars": true,
        "keepTime": true,
        "targetBlank": false,
        "tooltip": "",
    })
}

fn annotations(board: &Board) -> Vec<Value> {
    let mut annotations = vec![json!({
        "builtIn": 1,
        "datasource": { "type": "grafana", "uid": "-- Grafana --" },
        "enable": true,
        "hide": true,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    })];
    if !board.alerts.is_empty() {
        annotations.push(json!({
            "datasource": data_source(METRICS),
            "enable": true,
            "expr": format!("max by (alertname, server_address) (ALERTS{{{}}})", board.alerts),
            "iconColor": "red",
            "name": "Alerts that fire",
            "titleFormat": "{{alertname}} {{server_address}}",
            "step": "1m",
        }));
    }
    annotations
}

/// The panels, each at its place: beside one another until a line is full.
fn panels(source: &Source, board: &Board) -> Result<Vec<Value>> {
    let mut made: Vec<Value> = Vec::new();
    let mut top = 0;
    for row in &board.rows {
        made.push(json!({
            "id": made.len() + 1,
            "type": "row",
            "title": row.title,
            "collapsed": false,
            "gridPos": { "h": 1, "w": WIDTH, "x": 0, "y": top },
            "panels": [],
        }));
        top += 1;
        let (mut left, mut tallest) = (0, 0);
        for panel in &row.panels {
            let Panel(_, signal, width, height) = panel;
            if left + width > WIDTH {
                top += tallest;
                (left, tallest) = (0, 0);
            }
            let mut drawn = draw(source, panel, source.signal(signal)?)
                .map_err(|error| Error::new(format!("{signal}, {}", error.place), error.why))?;
            drawn["id"] = json!(made.len() + 1);
            drawn["gridPos"] = json!({ "h": height, "w": width, "x": left, "y": top });
            made.push(drawn);
            left += width;
            tallest = tallest.max(*height);
        }
        top += tallest;
    }
    Ok(made)
}

/// A panel without its place.
fn draw(source: &Source, panel: &Panel, signal: &Signal) -> Result<Value> {
    let kind = panel.0;
    let asked = if kind == Kind::Traces { traces(source)? } else { METRICS };
    let targets = match (kind, &signal.search) {
        (Kind::Traces, Some(search)) => vec![search_target(source, search)?],
        (Kind::Traces, None) => return Err(Error::new("search", "is missing")),
        (_, _) => targets(source, kind, signal)?,
    };
    let (name, custom, options) = style(kind, signal);
    let mut defaults = Map::new();
    if kind != Kind::Heatmap {
        defaults.insert("unit".into(), json!(signal.unit));
    }
    if let (Some(digits), Kind::Stat | Kind::Lines) = (signal.decimals, kind) {
        defaults.insert("decimals".into(), json!(digits));
    }
    if let Kind::Lines | Kind::Stack = kind {
        defaults.insert("min".into(), json!(0));
    }
    if kind == Kind::Stat {
        defaults.insert("color".into(), json!({ "mode": "thresholds" }));
    }
    if kind == Kind::Stat || !signal.levels.is_empty() {
        defaults.insert("thresholds".into(), thresholds(source, signal)?);
    }
    if let Some(empty) = &signal.empty {
        defaults.insert("noValue".into(), json!(empty));
    }
    if let Some(find) = &signal.find {
        let url = explore(source, &find.attributes)?;
        let link = json!({ "title": find.title, "url": url, "targetBlank": true });
        defaults.insert("links".into(), json!([link]));
    }
    if !custom.is_null() {
        defaults.insert("custom".into(), custom);
    }
    let overrides = match kind {
        Kind::Table => columns(source, signal)?,
        Kind::Lines | Kind::Stack => colours(source, signal),
        Kind::Stat | Kind::Heatmap | Kind::Traces => Vec::new(),
    };
    let mut made = json!({
        "type": name,
        "title": signal.title,
        "description": signal.shows,
        "datasource": data_source(asked),
        "fieldConfig": { "defaults": defaults, "overrides": overrides },
        "options": options,
        "targets": targets,
    });
    if kind == Kind::Table {
        made["transformations"] = arrangement(source, signal);
    }
    if let Some(interval) = &signal.interval {
        made["interval"] = json!(interval);
    }
    Ok(made)
}

/// Grafana's name for a kind of panel, and how all of a kind look: fields and panel.
fn style(kind: Kind, signal: &Signal) -> (&'static str, Value, Value) {
    let lines = |fill: u8, stacking: &str| {
        json!({
            "drawStyle": "line",
            "fillOpacity": fill,
            "lineWidth": 1,
            "showPoints": "never",
            "spanNulls": false,
            "stacking": { "mode": stacking, "group": "A" },
        })
    };
    let legend = json!({
        "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true },
        "tooltip": { "mode": "multi", "sort": "desc" },
    });
    match kind {
        Kind::Lines => ("timeseries", lines(10, "none"), legend),
        Kind::Stack => ("timeseries", lines(30, "normal"), legend),
        Kind::Stat => (
            "stat",
            Value::Null,
            json!({
                "colorMode": "value",
                "graphMode": "none",
                "justifyMode": "auto",
                "orientation": "auto",
                "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                "textMode": "auto",
            }),
        ),
        Kind::Table | Kind::Traces => {
            let sort = signal.sort.iter();
            let sort = sort.map(|column| json!({ "displayName": column, "desc": true }));
            (
                "table",
                json!({ "align": "auto", "filterable": true }),
                json!({ "cellHeight": "sm", "showHeader": true, "sortBy": sort.collect::<Vec<_>>() }),
            )
        }
        Kind::Heatmap => (
            "heatmap",
            json!({ "scaleDistribution": { "type": "linear" } }),
            json!({
                "calculate": false,
                "cellGap": 1,
                "cellValues": { "unit": "short", "decimals": 0 },
                "color": {
                    "mode": "scheme",
                    "scheme": "Oranges",
                    "exponent": 0.5,
                    "steps": 64,
                    "fill": "dark-orange",
                    "reverse": false,
                },
                "filterValues": { "le": 1e-9 },
                "legend": { "show": true },
                "rowsFrame": { "layout": "auto" },
                "tooltip": { "mode": "single", "yHistogram": true },
                "yAxis": { "axisPlacement": "left", "unit": signal.unit, "reverse": false },
            }),
        ),
    }
}

/// The letter of a query.
#[must_use]
pub fn letter(index: usize) -> String {
    char::from(b'A' + index as u8).to_string()
}

fn targets(source: &Source, kind: Kind, signal: &Signal) -> Result<Vec<Value>> {
    let target = |(index, series): (usize, &Series)| {
        let expression = promql::query(source, series)?;
        let at_once = matches!(kind, Kind::Stat | Kind::Table);
        let mut target = json!({
            "refId": letter(index),
            "datasource": data_source(METRICS),
            "editorMode": "code",
            "expr": expression,
            "instant": at_once,
            "range": !at_once,
        });
        if let Some(legend) = &series.legend {
            target["legendFormat"] = json!(legend);
        }
        match kind {
            Kind::Table => target["format"] = json!("table"),
            Kind::Heatmap => target["format"] = json!("heatmap"),
            // A quantile over time leads to single operations.
            Kind::Lines if series.quantile.is_some() => target["exemplar"] = json!(true),
            _ => {}
        }
        Ok(target)
    };
    signal.series.iter().enumerate().map(target).collect()
}

fn search_target(source: &Source, search: &Search) -> Result<Value> {
    let mut target = searched(source, &search.attributes, search.least.as_deref(), search.limit)?;
    target["refId"] = json!("A");
    target["datasource"] = data_source(traces(source)?);
    Ok(target)
}

/// A search in the words of the trace backend.
fn searched(
    source: &Source,
    attributes: &BTreeMap<String, String>,
    least: Option<&str>,
    limit: u64,
) -> Result<Value> {
    let service = source.parameter("service")?;
    if traces(source)? == "jaeger" {
        let tags: Vec<_> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut search = json!({
            "queryType": "search",
            "service": service,
            "tags": tags.join(" "),
            "limit": limit,
        });
        if let Some(least) = least {
            search["minDuration"] = json!(least);
        }
        return Ok(search);
    }
    let mut conditions = vec![format!("resource.service.name = \"{service}\"")];
    conditions.extend(attributes.iter().map(|(key, value)| {
        let scope = if key.starts_with("host.") { "resource" } else { "span" };
        format!("{scope}.{key} = \"{value}\"")
    }));
    conditions.extend(least.map(|least| format!("duration >= {least}")));
    let query = format!("{{ {} }}", conditions.join(" && "));
    Ok(json!({ "queryType": "traceql", "query": query, "tableType": "spans", "limit": limit }))
}

/// A link to a search in Explore, which is JSON, percent-encoded but for the variables in it.
fn explore(source: &Source, attributes: &BTreeMap<String, String>) -> Result<String> {
    let kind = traces(source)?;
    let mut query = searched(source, attributes, None, 100)?;
    query["refId"] = json!("A");
    query["datasource"] = data_source(kind);
    let panes = json!({ "traces": {
        "datasource": format!("${{{kind}_datasource}}"),
        "queries": [query],
        "range": { "from": "${__from}", "to": "${__to}" },
    }});
    let mut link = "/explore?schemaVersion=1&panes=".to_owned();
    let text = panes.to_string();
    let mut rest = text.as_str();
    while let Some((plain, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else { break };
        link.push_str(&utf8_percent_encode(plain, RESERVED).to_string());
        link.push_str(&format!("${{{name}}}"));
        rest = after;
    }
    link.push_str(&utf8_percent_encode(rest, RESERVED).to_string());
    Ok(link)
}

fn thresholds(source: &Source, signal: &Signal) -> Result<Value> {
    let mut steps = vec![json!({ "color": signal.calm, "value": null })];
    for (colour, number) in &signal.levels {
        let number = match number {
            Number::Is(number) => *number,
            Number::Named(name) => {
                let text = source.expand(name)?;
                text.parse().map_err(|_| Error::new(name, format!("{text:?} is no number")))?
            }
        };
        let whole = number.fract() == 0.0;
        let value = if whole { json!(number as i64) } else { json!(number) };
        steps.push(json!({ "color": colour, "value": value }));
    }
    Ok(json!({ "mode": "absolute", "steps": steps }))
}

fn by_name(name: &str, properties: Value) -> Value {
    json!({ "matcher": { "id": "byName", "options": name }, "properties": properties })
}

/// The labels of a signal's answers.
fn labels(signal: &Signal) -> &[String] {
    signal.series.first().map_or(&[], |series| &series.by)
}

/// One colour for each value of a label, wherever it is drawn: as the label or as a legend.
fn colours(source: &Source, signal: &Signal) -> Vec<Value> {
    let is_drawn = |label: &String, value: &String| {
        labels(signal).contains(label)
            || signal.series.iter().any(|series| series.legend.as_ref() == Some(value))
    };
    let colour =
        |name: &str| json!([{ "id": "color", "value": { "mode": "fixed", "fixedColor": name } }]);
    let mut made = Vec::new();
    for (label, colours) in &source.signals.colours {
        let drawn = colours.iter().filter(|(value, _)| is_drawn(label, value));
        made.extend(drawn.map(|(value, name)| by_name(value, colour(name))));
    }
    made
}

/// How a label is called.
fn column<'a>(source: &'a Source, label: &'a str) -> &'a str {
    source.signals.columns.get(label).map_or(label, String::as_str)
}

/// What each column of a table looks like, and where it leads.
fn columns(source: &Source, signal: &Signal) -> Result<Vec<Value>> {
    let mut made = Vec::new();
    for label in labels(signal) {
        let links = links(source, signal, label)?;
        if !links.is_empty() {
            let property = json!([{ "id": "links", "value": links }]);
            made.push(by_name(column(source, label), property));
        }
    }
    for series in &signal.series {
        let unit = series.unit.iter().map(|unit| json!({ "id": "unit", "value": unit }));
        let decimals = series.decimals.iter().map(|d| json!({ "id": "decimals", "value": d }));
        let properties: Vec<Value> = unit.chain(decimals).collect();
        if let (Some(name), false) = (&series.name, properties.is_empty()) {
            made.push(by_name(name, json!(properties)));
        }
    }
    Ok(made)
}

/// The value of a row's column in a link.
fn cell(source: &Source, label: &str) -> String {
    format!("${{__data.fields.{}:percentencode}}", column(source, label))
}

/// Where the value of a label leads.
fn links(source: &Source, signal: &Signal, label: &str) -> Result<Vec<Value>> {
    let traces = traces(source)?;
    let to_board = |uid: &str, variable: &str| {
        json!({
            "title": format!("{} dashboard", column(source, label)),
            "url": format!(
                "/d/{uid}?var-{variable}={}&${{prometheus_datasource:queryparam}}\
                 &${{{traces}_datasource:queryparam}}&${{job:queryparam}}&${{__url_time_range}}",
                cell(source, label)
            ),
        })
    };
    let to_traces = |attributes: &[(&str, &str)]| -> Result<Value> {
        let attributes =
            attributes.iter().map(|(key, label)| ((*key).to_owned(), cell(source, label)));
        let url = explore(source, &attributes.collect())?;
        Ok(json!({ "title": "Traces in Explore", "url": url, "targetBlank": true }))
    };
    let has_server = labels(signal).iter().any(|label| label == "server_address");
    Ok(match label {
        "server_address" => vec![
            to_board("mpr-otel-server", "server"),
            to_traces(&[("server.address", "server_address")])?,
        ],
        "host_name" => vec![to_board("mpr-otel-host", "host")],
        "error_type" if has_server => {
            vec![to_traces(&[("server.address", "server_address"), ("error.type", "error_type")])?]
        }
        "error_type" => vec![to_traces(&[("error.type", "error_type")])?],
        _ => Vec::new(),
    })
}

/// One table of several answers, its columns in order and by their names.
fn arrangement(source: &Source, signal: &Signal) -> Value {
    let several = signal.series.len() > 1;
    let labels = labels(signal).iter().map(|label| (label.clone(), column(source, label)));
    let values = signal.series.iter().enumerate().map(|(index, series)| {
        let field = if several { format!("Value #{}", letter(index)) } else { "Value".to_owned() };
        (field, series.name.as_deref().unwrap_or_default())
    });
    let names: Vec<(String, &str)> = labels.chain(values).collect();
    let order: Map<_, _> =
        names.iter().enumerate().map(|(index, (field, _))| (field.clone(), json!(index))).collect();
    let names: Map<_, _> = names.into_iter().map(|(field, name)| (field, json!(name))).collect();
    let organize = json!({ "id": "organize", "options": {
        "excludeByName": { "Time": true },
        "indexByName": order,
        "renameByName": names,
    }});
    match several {
        true => json!([{ "id": "merge", "options": {} }, organize]),
        false => json!([organize]),
    }
}
