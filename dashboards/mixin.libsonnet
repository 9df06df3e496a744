// What the dashboards and rules are to users of monitoring mixins (https://monitoring.mixins.dev). The
// files are made by `cargo xtask dashboards`; other jobs, data sources and links are its parameters.
{
  local files = {
    'health.json': import 'health.json',
    'host.json': import 'host.json',
    'inventory.json': import 'inventory.json',
    'overview.json': import 'overview.json',
    'server.json': import 'server.json',
  },
  local groups = std.parseYaml(importstr 'rules/mpr-otel.yaml').groups,
  local only(kind) = { groups: [g { rules: [r for r in g.rules if kind in r] } for g in groups] },

  grafanaDashboards+:: { ['mpr-otel-' + name]: files[name] for name in std.objectFields(files) },
  prometheusRules+:: only('record'),
  prometheusAlerts+:: only('alert'),
}
