//! What a process takes, from `/proc`.

use std::{collections::HashMap, ops::RangeInclusive, path::Path};

use anyhow::Context as _;

/// Clock ticks a second in `/proc`; fixed by Linux for programs.
const TICKS: f64 = 100.0;

/// Seconds of processor time of a process and of the children it has or had.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut ticks = own_ticks(pid, 14..=17)?.1;
    for entry in std::fs::read_dir("/proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may end while we look.
        if let Ok((parent, own)) = own_ticks(child, 14..=17)
            && parent == pid
        {
            ticks += own;
        }
    }
    Ok(seconds(ticks))
}

/// Seconds of processor time of this process alone: the load generator and the probes.
pub fn own_cpu_seconds() -> anyhow::Result<f64> {
    Ok(seconds(own_ticks(std::process::id(), 14..=15)?.1))
}

#[expect(clippy::cast_precision_loss, reason = "ticks are far below 2^52")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS
}

/// The parent of a process, and the ticks in some fields of its statistics: 14 and 15 are its own, 16 and 17 those of
/// children that ended.
fn own_ticks(pid: u32, of: RangeInclusive<usize>) -> anyhow::Result<(u32, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("reading /proc")?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(')').context("an unknown form of /proc/…/stat")?;
    let fields: Vec<u64> = rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect();
    let field = |n: usize| fields.get(n - 4).copied().unwrap_or(0);
    let parent = u32::try_from(field(4)).unwrap_or(0);
    Ok((parent, of.map(field).sum()))
}

/// Resident memory of a process in bytes.
pub fn memory_bytes(pid: u32) -> anyhow::Result<u64> {
    status(pid, "VmRSS:")
}

fn status(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line in /proc")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// The most resident memory that a process has had, in bytes.
pub fn peak_memory_bytes(pid: u32) -> anyhow::Result<u64> {
    status(pid, "VmHWM:")
}

/// The most bytes that a client of a server on this machine has written, by the server's port, and the server has not read: on
/// their way or in its socket.
pub fn unread_bytes(port: u16) -> anyhow::Result<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").context("reading /proc")?;
    unread_in(&table, port).context("an unknown form of /proc/net/tcp")
}

fn unread_in(table: &str, port: u16) -> Option<u64> {
    let mut unread: HashMap<u16, u64> = HashMap::new();
    for line in table.lines().skip(1) {
        // Number, own address and port, the other's, state, bytes sent and not taken : bytes come and not read.
        let fields: Vec<&str> = line.split_whitespace().take(5).collect();
        let &[_, own, other, _, queues] = fields.as_slice() else { return None };
        let port_of = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
        let (own, other) = (port_of(own)?, port_of(other)?);
        let (sent, come) = queues.split_once(':')?;
        let (client, bytes) = match (own == port, other == port) {
            (true, _) => (other, come),
            (_, true) => (own, sent),
            _ => continue,
        };
        // A socket that listens has nobody at the other end; what it says there is how many wait to be let in.
        if client != 0 {
            *unread.entry(client).or_default() += u64::from_str_radix(bytes, 16).ok()?;
        }
    }
    Some(unread.into_values().max().unwrap_or(0))
}

/// Bytes in words.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", super::count(bytes) / f64::from(1 << 20))
}

/// Bytes of the files below a folder.
pub fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() { folder_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_wrote_and_the_server_did_not_read_stands_at_both_ends() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0100007F:075B 00000000:0000 0A 00000000:00000080 00:00000000 00000000     0
   1: 0100007F:075B 0100007F:C8EE 01 00000007:0000D32C 00:00000000 00000000     0
   2: 0100007F:C8EE 0100007F:075B 01 00204834:00000009 00:00000000 00000000     0
   3: 0100007F:075B 0100007F:9244 01 00000000:0000078F 00:00000000 00000000     0
   4: 0100007F:1538 0100007F:9250 01 00FFFFFF:00FFFFFF 00:00000000 00000000     0
";
        assert_eq!(unread_in(table, 0x075B), Some(0x20_4834 + 0xD32C));
        assert_eq!(unread_in(table, 1), Some(0));
        assert_eq!(unread_in("header\nnonsense", 1), None);
    }
}
