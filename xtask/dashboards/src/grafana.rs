//! A dashboard as Grafana imports it.

use crate::source::{Board, Names, Number, Panel, Search, Series, Signal, Source, named};
use crate::{Result, promql};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// How wide a dashboard is.
const WIDTH: u32 = 24;
/// What is percent-encoded in a link: all but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The kind of data source that answers queries of metrics.
const METRICS: &str = "prometheus";
/// The kind of data source that answers queries of events.
const EVENTS: &str = "loki";

/// A dashboard.
pub fn dashboard(source: &Source, board: &Board) -> Result<Value> {
    let styles = &source.styles;
    let panels = panels(source, board)?;
    let has_events = panels.iter().any(|panel| panel["datasource"]["type"] == EVENTS);
    let kinds = [METRICS, traces(source)?].into_iter().chain(has_events.then_some(EVENTS));
    let mut variables: Vec<Value> = kinds.map(|kind| data_source_variable(source, kind)).collect();
    let site = (!source.parameter("site_label")?.is_empty()).then_some("site");
    for name in board.variables.iter().map(String::as_str).chain(site) {
        variables.push(variable(source, name, board.one.iter().any(|one| one == name))?);
    }
    let mut annotations = vec![styles["annotation"].clone()];
    if !board.alerts.is_empty() {
        let expr = format!("max by (alertname, server_address) (ALERTS{{{}}})", board.alerts);
        let asked = json!({ "datasource": data_source(METRICS), "expr": expr });
        annotations.push(with(&styles["alerts"], asked));
    }
    let others = source.boards.iter().filter(|other| other.uid != board.uid);
    let link = |to: &Board| {
        with(&styles["link"], json!({ "title": to.title, "url": format!("/d/{}", to.uid) }))
    };
    let made = json!({
        "uid": board.uid,
        "title": format!("mpr-otel / {}", board.title),
        "description": board.description,
        "time": { "from": board.from, "to": "now" },
        "links": others.map(link).collect::<Vec<_>>(),
        "annotations": { "list": annotations },
        "templating": { "list": variables },
        "panels": panels,
    });
    Ok(with(&styles["board"], made))
}

/// Grafana's JSON with more in it.
fn with(style: &Value, more: Value) -> Value {
    let mut made = style.clone();
    match (&mut made, more) {
        (Value::Object(made), Value::Object(more)) => {
            for (key, value) in more {
                let old = made.remove(&key).unwrap_or_default();
                made.insert(key, with(&old, value));
            }
        }
        (_, more) => return more,
    }
    made
}

/// The kind of data source that keeps traces.
fn traces(source: &Source) -> Result<&str> {
    match source.parameter("traces")? {
        kind @ ("jaeger" | "tempo") => Ok(kind),
        other => Err(format!("traces are in jaeger or tempo, not in {other:?}").into()),
    }
}

fn data_source(kind: &str) -> Value {
    json!({ "type": kind, "uid": format!("${{{kind}_datasource}}") })
}

fn data_source_variable(source: &Source, kind: &str) -> Value {
    let name = [&kind[..1].to_ascii_uppercase(), &kind[1..]].concat();
    let label = format!("{name} data source");
    let name = format!("{kind}_datasource");
    with(&source.styles["data_source"], json!({ "name": name, "label": label, "query": kind }))
}

fn variable(source: &Source, name: &str, one: bool) -> Result<Value> {
    let mut table = named(&source.signals.variables, "variable", name)?.clone();
    for text in table.values_mut() {
        if let Value::String(text) = text {
            *text = source.expand(text)?;
        }
    }
    let table = Value::Object(table);
    let common = json!({
        "name": name,
        "datasource": data_source(METRICS),
        "definition": table["query"],
        "includeAll": table["multi"] == true && !one,
    });
    let current = match &table["first"] {
        Value::Null if common["includeAll"] == true => json!({ "text": "All", "value": "$__all" }),
        Value::Null => json!({}),
        value => json!({ "text": value, "value": value }),
    };
    let mut made = with(&with(&source.styles["variable"], table), common);
    made["current"] = current;
    made.as_object_mut().map(|made| made.remove("first"));
    Ok(made)
}

/// The panels, each at its place: beside one another until a line is full.
fn panels(source: &Source, board: &Board) -> Result<Vec<Value>> {
    let mut made: Vec<Value> = Vec::new();
    let mut put = |panel: &Value, place: [u32; 4]| {
        let [x, y, w, h] = place;
        let grid = json!({ "x": x, "y": y, "w": w, "h": h });
        made.push(with(panel, json!({ "id": made.len() + 1, "gridPos": grid })));
    };
    let mut top = 0;
    for row in &board.rows {
        put(&with(&source.styles["row"], json!({ "title": row.title })), [0, top, WIDTH, 1]);
        top += 1;
        let (mut left, mut tallest) = (0, 0);
        for Panel(kind, signal, width, height) in &row.panels {
            if left + width > WIDTH {
                top += tallest;
                (left, tallest) = (0, 0);
            }
            let drawn = draw(source, kind, source.signal(signal)?)
                .map_err(|error| format!("{signal}: {error}"))?;
            put(&drawn, [left, top, *width, *height]);
            left += width;
            tallest = tallest.max(*height);
        }
        top += tallest;
    }
    Ok(made)
}

/// A panel without its place.
fn draw(source: &Source, kind: &str, signal: &Signal) -> Result<Value> {
    let (asked, targets) = match kind {
        "traces" => {
            let search = signal.search.as_ref().ok_or("has no search")?;
            (traces(source)?, vec![searched(source, search)?])
        }
        "events" | "logs" => {
            let events = signal.events.as_ref().ok_or("has no events")?;
            let target = json!({
                "refId": "A",
                "datasource": data_source(EVENTS),
                "editorMode": "code",
                "expr": source.expand(events)?,
                "queryType": "range",
                "legendFormat": signal.legend.as_deref().unwrap_or_default(),
            });
            (EVENTS, vec![target])
        }
        _ => (METRICS, targets(source, kind, signal)?),
    };
    let style = &source.styles["panels"][kind];
    if style.is_null() {
        return Err(format!("nothing is drawn as {kind}").into());
    }
    let overrides = match kind {
        "table" => columns(source, signal)?,
        "lines" | "stack" => colours(source, signal),
        _ => Vec::new(),
    };
    let mut made = json!({
        "title": signal.title,
        "description": source.expand(&signal.shows)?,
        "datasource": data_source(asked),
        "fieldConfig": { "defaults": defaults(source, kind, signal)?, "overrides": overrides },
        "targets": targets,
    });
    if kind == "heatmap" {
        made["options"] = json!({ "yAxis": { "unit": unit(signal) } });
    }
    if let ("table" | "traces", Some(sort)) = (kind, &signal.sort) {
        let column = json!({ "displayName": source.expand(sort)?, "desc": true });
        made["options"] = json!({ "sortBy": [column] });
    }
    if kind == "table" {
        made["transformations"] = arrangement(source, signal)?;
    }
    if let Some(interval) = &signal.interval {
        made["interval"] = json!(interval);
    }
    Ok(with(style, made))
}

/// What holds for every number of a panel.
fn defaults(source: &Source, kind: &str, signal: &Signal) -> Result<Value> {
    let mut made = json!({});
    if kind != "heatmap" {
        made["unit"] = json!(unit(signal));
    }
    if let (Some(digits), "stat" | "lines") = (signal.decimals, kind) {
        made["decimals"] = json!(digits);
    }
    if kind == "stat" || !signal.levels.is_empty() {
        let mut steps =
            vec![json!({ "color": signal.calm.as_deref().unwrap_or("text"), "value": null })];
        for (colour, number) in &signal.levels {
            let value = match number {
                Number::Is(number) => *number,
                Number::Times(times) => {
                    let mut product = 1.0;
                    for (name, times) in times {
                        product *= times * source.number(name)?;
                    }
                    product
                }
            };
            steps.push(json!({ "color": colour, "value": value }));
        }
        made["thresholds"] = json!({ "mode": "absolute", "steps": steps });
    }
    if let Some(empty) = &signal.empty {
        made["noValue"] = json!(empty);
    }
    if let Some(find) = &signal.find {
        made["links"] = json!([explore(source, find)?]);
    }
    Ok(made)
}

/// A signal's unit, by Grafana's name.
fn unit(signal: &Signal) -> &str {
    signal.unit.as_deref().unwrap_or("short")
}

/// The letter of a query.
#[must_use]
pub fn letter(index: usize) -> String {
    char::from(b'A' + index as u8).to_string()
}

fn targets(source: &Source, kind: &str, signal: &Signal) -> Result<Vec<Value>> {
    let at_once = matches!(kind, "stat" | "table");
    let first_quantile = signal.series.iter().position(|series| series.quantile.is_some());
    let target = |(index, series): (usize, &Series)| {
        let mut target = json!({
            "refId": letter(index),
            "datasource": data_source(METRICS),
            "editorMode": "code",
            "expr": promql::query(source, series)?,
            "instant": at_once,
            "range": !at_once,
        });
        if let Some(legend) = &series.legend {
            target["legendFormat"] = json!(legend);
        }
        match kind {
            "table" => target["format"] = json!("table"),
            "heatmap" => target["format"] = json!("heatmap"),
            // A quantile over time leads to single operations, which are the same for each of a panel.
            "lines" if Some(index) == first_quantile => target["exemplar"] = json!(true),
            _ => {}
        }
        Ok(target)
    };
    signal.series.iter().enumerate().map(target).collect()
}

/// A search in the words of the trace backend.
fn searched(source: &Source, search: &Search) -> Result<Value> {
    let service = source.parameter("service")?;
    let attributes = &search.attributes;
    let kind = traces(source)?;
    let asked = if kind == "jaeger" {
        let tags: Vec<_> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let tags = json!({ "queryType": "search", "service": service, "tags": tags.join(" ") });
        let least = search.least.iter().map(|least| json!({ "minDuration": least }));
        least.fold(tags, |search, least| with(&search, least))
    } else {
        let mut conditions = vec![format!("resource.service.name = \"{service}\"")];
        conditions.extend(attributes.iter().map(|(key, value)| {
            let scope = if key.starts_with("host.") { "resource" } else { "span" };
            format!("{scope}.{key} = \"{value}\"")
        }));
        conditions.extend(search.least.iter().map(|least| format!("duration >= {least}")));
        let query = format!("{{ {} }}", conditions.join(" && "));
        json!({ "queryType": "traceql", "query": query, "tableType": "spans" })
    };
    let more = json!({ "refId": "A", "datasource": data_source(kind), "limit": search.limit });
    Ok(with(&asked, more))
}

/// A link to a search in Explore, which is JSON, percent-encoded but for the variables in it.
fn explore(source: &Source, search: &Search) -> Result<Value> {
    let panes = json!({ "traces": {
        "datasource": data_source(traces(source)?)["uid"],
        "queries": [searched(source, search)?],
        "range": { "from": "${__from}", "to": "${__to}" },
    }});
    let mut url = "/explore?schemaVersion=1&panes=".to_owned();
    for piece in panes.to_string().split_inclusive('}') {
        let (plain, variable) = piece.split_at(piece.find("${").unwrap_or(piece.len()));
        url.push_str(&utf8_percent_encode(plain, RESERVED).to_string());
        url.push_str(variable);
    }
    Ok(json!({ "title": search.title, "url": url, "targetBlank": true }))
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
    let mut made = Vec::new();
    for (label, colours) in &source.signals.colours {
        let drawn = colours.iter().filter(|(value, _)| is_drawn(label, value));
        made.extend(drawn.map(|(value, name)| {
            let colour = json!({ "mode": "fixed", "fixedColor": name });
            by_name(value, json!([{ "id": "color", "value": colour }]))
        }));
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
            let links = json!([{ "id": "links", "value": links }]);
            made.push(by_name(column(source, label), links));
        }
    }
    for series in &signal.series {
        let unit = series.unit.iter().map(|unit| json!({ "id": "unit", "value": unit }));
        let decimals = series.decimals.iter().map(|d| json!({ "id": "decimals", "value": d }));
        let properties: Vec<Value> = unit.chain(decimals).collect();
        if let (Some(name), false) = (&series.name, properties.is_empty()) {
            made.push(by_name(&source.expand(name)?, json!(properties)));
        }
    }
    Ok(made)
}

/// Where the value of a label leads. Names are percent-encoded: anybody may have chosen them.
fn links(source: &Source, signal: &Signal, label: &str) -> Result<Vec<Value>> {
    let cell = |label| format!("${{__data.fields.{}:percentencode}}", column(source, label));
    let traces = traces(source)?;
    let to_board = |uid: &str, variable: &str| {
        let url = format!(
            "/d/{uid}?var-{variable}={}&${{prometheus_datasource:queryparam}}\
             &${{{traces}_datasource:queryparam}}&${{job:queryparam}}&${{__url_time_range}}",
            cell(label)
        );
        json!({ "title": format!("{} dashboard", column(source, label)), "url": url })
    };
    let has_server = labels(signal).iter().any(|label| label == "server_address");
    let server = has_server.then(|| ("server.address".to_owned(), cell("server_address")));
    let to_traces = |attributes: Names<String>| {
        let title = Some("Traces in Explore".to_owned());
        explore(source, &Search { limit: 100, title, least: None, attributes })
    };
    Ok(match label {
        "server_address" => {
            vec![to_board("mpr-otel-server", "server"), to_traces(server.into_iter().collect())?]
        }
        "host_name" => vec![to_board("mpr-otel-host", "host")],
        "error_type" => {
            let error = ("error.type".to_owned(), cell("error_type"));
            vec![to_traces(server.into_iter().chain([error]).collect())?]
        }
        _ => Vec::new(),
    })
}

/// One table of several answers, its columns in order and by their names.
fn arrangement(source: &Source, signal: &Signal) -> Result<Value> {
    let several = signal.series.len() > 1;
    let labels = labels(signal).iter();
    let mut names: Vec<(String, String)> =
        labels.map(|label| (label.clone(), column(source, label).to_owned())).collect();
    for (index, series) in signal.series.iter().enumerate() {
        let field = if several { format!("Value #{}", letter(index)) } else { "Value".to_owned() };
        names.push((field, source.expand(series.name.as_deref().unwrap_or_default())?));
    }
    let places = names.iter().enumerate();
    let order: Map<_, _> =
        places.map(|(place, (field, _))| (field.clone(), json!(place))).collect();
    let names: Map<_, _> = names.into_iter().map(|(field, name)| (field, json!(name))).collect();
    let organize = json!({ "id": "organize", "options": {
        "excludeByName": { "Time": true },
        "indexByName": order,
        "renameByName": names,
    }});
    let merge = several.then(|| json!({ "id": "merge", "options": {} }));
    Ok(merge.into_iter().chain([organize]).collect())
}
