//! Node-RED as a competent user sets it up: an MQTT node, a function node that collects messages, and one insert a batch
//! through a pool of `pg`. Installed from npm into a scratch folder.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::{
    reference,
    servers::{Announced, free_port, program},
};

/// What is installed. Node-RED 5 needs a newer Node.js than many systems have.
const PACKAGES: [&str; 2] = ["node-red@4", "pg@8"];
/// How many messages are written at once, and how long to wait for so many, in milliseconds.
const BATCH: usize = 500;
const LINGER_MS: u32 = 20;

/// How a batch becomes one statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Insert {
    /// A row for every value, in a table that takes any channel; an array for every column of it.
    Values,
    /// A row for every message; `VALUES` with a parameter for every value: what its users write as a rule.
    Rows,
    /// A row for every message, an array for every column: what somebody writes who knows PostgreSQL well.
    Arrays,
}

impl Insert {
    /// What makes the table, and lets it be looked at as that of the reference.
    pub fn create(self) -> &'static str {
        match self {
            Self::Values => {
                "CREATE TABLE value (device text COLLATE \"C\" NOT NULL, channel text COLLATE \"C\" NOT NULL,
                 time timestamptz NOT NULL, seq bigint, value double precision, PRIMARY KEY (device, channel, time));
                 CREATE VIEW reference AS SELECT device, time, seq FROM value WHERE channel = 'motor_a'"
            }
            Self::Rows | Self::Arrays => reference::CREATE,
        }
    }
}

/// An installed Node-RED.
pub struct Installed {
    folder: TempDir,
}

/// Installs it.
pub fn install(dir: &Path) -> anyhow::Result<Installed> {
    let folder = tempfile::Builder::new().prefix("liftline-bench-node-red-").tempdir_in(dir)?;
    eprintln!("  installing {} from npm", PACKAGES.join(" and "));
    let log = std::fs::File::create(folder.path().join("npm.log"))?;
    let status = Command::new(program("npm")?)
        .args(["install", "--no-audit", "--no-fund", "--omit=dev", "--prefix"])
        .arg(folder.path())
        .args(PACKAGES)
        .stdout(Stdio::null())
        .stderr(log)
        .status()
        .context("running npm")?;
    let said = std::fs::read_to_string(folder.path().join("npm.log")).unwrap_or_default();
    ensure!(status.success(), "npm could not install Node-RED:\n{said}");
    Ok(Installed { folder })
}

impl Installed {
    /// Starts it with a flow from a broker to a database.
    pub fn start(&self, mqtt_port: u16, url: &str, insert: Insert) -> anyhow::Result<Announced> {
        let user = self.folder.path().join("user");
        std::fs::create_dir_all(&user)?;
        let settings = format!(
            "module.exports = {{ flowFile: 'flows.json', uiPort: {}, uiHost: '127.0.0.1', credentialSecret: false,\n  \
             functionGlobalContext: {{ pg: require('{}/node_modules/pg') }},\n  logging: {{ console: {{ level: 'info' }} }} }};\n",
            free_port()?,
            self.folder.path().display()
        );
        std::fs::write(user.join("settings.js"), settings)?;
        std::fs::write(user.join("flows.json"), flow(mqtt_port, url, insert).to_string())?;
        let mut command = Command::new(program("node")?);
        command.arg(self.folder.path().join("node_modules/node-red/red.js")).arg("--userDir").arg(&user);
        let log = self.folder.path().join("node-red.log");
        let mut started = Announced::start(&mut command, &log)?;
        loop {
            let line = started.line().with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
            if line.contains("Connected to broker") {
                // Its subscription follows in the same breath.
                std::thread::sleep(std::time::Duration::from_secs(1));
                return Ok(started);
            }
        }
    }
}

fn flow(mqtt_port: u16, url: &str, insert: Insert) -> serde_json::Value {
    let columns = "motor_a, door_a, motor_c, vib_mm_s, load_kg, speed_m_s, mains_v, level_mm";
    let names: Vec<String> = columns.split(", ").map(|name| format!("m.values.{name}")).collect();
    let collect = format!(
        "let batch = context.get('batch');\n\
         batch.push([msg.topic.split('/')[1], msg.payload]);\n\
         if (batch.length >= {BATCH}) context.get('flush')();\n\
         else if (!context.get('timer')) context.set('timer', setTimeout(context.get('flush'), {LINGER_MS}));\n\
         return null;"
    );
    let values = names.join(", ");
    let query = match insert {
        Insert::Values => "const values = Array.from({ length: 5 }, () => []);
             for (const [device, m] of batch) for (const channel in m.values)
               [device, channel, m.ts, m.seq, m.values[channel]].forEach((value, n) => values[n].push(value));
             const text = 'INSERT INTO value (device, channel, time, seq, value) SELECT d, c, to_timestamp(t / 1000.0), s, v FROM unnest($1::text[], $2::text[], $3::float8[], $4::bigint[], $5::float8[]) AS r(d, c, t, s, v) ON CONFLICT DO NOTHING';
             const query = { name: 'insert', text, values };"
            .to_owned(),
        Insert::Rows => format!(
            "const values = batch.flatMap(([device, m]) => [device, new Date(m.ts), m.seq, {values}]);
             const rows = batch.map((_, row) => '(' + Array.from({{ length: 11 }}, (_, n) => '$' + (row * 11 + n + 1)) + ')');
             const query = {{ text: 'INSERT INTO reference (device, time, seq, {columns}) VALUES ' + rows + ' ON CONFLICT DO NOTHING', values }};"
        ),
        Insert::Arrays => {
            let casts: Vec<String> = (4..12).map(|n| format!("${n}::float8[]")).collect();
            let fields = (0..8).map(|n| format!("v{n}")).collect::<Vec<_>>().join(", ");
            format!(
                "const values = Array.from({{ length: 11 }}, () => []);
                 for (const [device, m] of batch) [device, m.ts, m.seq, {values}].forEach((value, n) => values[n].push(value));
                 const text = 'INSERT INTO reference (device, time, seq, {columns}) SELECT d, to_timestamp(t / 1000.0), s, {fields} FROM unnest($1::text[], $2::float8[], $3::bigint[], {}) AS r(d, t, s, {fields}) ON CONFLICT DO NOTHING';
                 const query = {{ name: 'insert', text, values }};",
                casts.join(", ")
            )
        }
    };
    let prepare = format!(
        "const pool = new (global.get('pg').Pool)({{ connectionString: '{url}', max: 4 }});
         context.set('batch', []);
         context.set('flush', () => {{
           clearTimeout(context.get('timer')); context.set('timer', undefined);
           const batch = context.get('batch'); context.set('batch', []);
           {query}
           pool.query(query).catch(error => node.error(error));
         }});"
    );
    json!([
        { "id": "tab", "type": "tab", "label": "ingest" },
        { "id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": mqtt_port.to_string(),
          "clientid": "node-red", "autoConnect": true, "protocolVersion": "5", "keepalive": "60", "cleansession": true },
        { "id": "in", "type": "mqtt in", "z": "tab", "topic": "liftline/+/telemetry", "qos": "1", "datatype": "json",
          "broker": "broker", "nl": false, "rap": true, "rh": 0, "inputs": 0, "wires": [["write"]] },
        { "id": "write", "type": "function", "z": "tab", "name": "batch", "func": collect, "initialize": prepare,
          "outputs": 0, "wires": [] }
    ])
}
