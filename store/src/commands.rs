//! Commands sent down to devices. They only move forward: queued, sent, delivered, and then applied, failed or expired.

use std::time::Duration;

use model::{CommandId, CommandResult, CommandState, DeviceId, OrgId, Timestamp};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{
    AuditActor, Change, Result, Store, audit,
    db::{
        DbTime, Tx, at, document, execute, fetch_all, fetch_optional, from_code, from_document, name, new_id,
        statements, text,
    },
};

macro_rules! columns {
    () => {
        "id, org, device, name, args, state, detail, requested_by, created_at, deadline, updated_at"
    };
}

statements! {
    // Inserts nothing if the device is not the organisation's.
    INSERT = both("
        INSERT INTO commands (id, org, device, name, args, state, requested_by, created_at, deadline, updated_at)
        SELECT $1, d.org, d.id, $4, $5, 'queued', $6, $7, $8, $7 FROM devices d WHERE d.org = $2 AND d.id = $3");
    QUEUED = both(concat!("
        SELECT ", columns!(), " FROM commands WHERE state = 'queued' AND deadline > $1 AND id > $2 ORDER BY id LIMIT $3"));
    REQUEUE = both("
        UPDATE commands SET state = 'queued', updated_at = $1
        WHERE state = 'sent' AND deadline > $1 AND (id = $2 OR $2 IS NULL)");
    OF_DEVICE = both(concat!("
        SELECT ", columns!(), " FROM commands WHERE org = $1 AND device = $2 ORDER BY id DESC LIMIT $3"));
    STATE = each(
        "SELECT org, device, state FROM commands WHERE id = $1 FOR NO KEY UPDATE",
        "SELECT org, device, state FROM commands WHERE id = $1");
    ADVANCE = both("UPDATE commands SET state = $2, detail = coalesce($3, detail), updated_at = $4 WHERE id = $1");
    EXPIRE = both("
        UPDATE commands SET state = 'expired', updated_at = $1
        WHERE state IN ('queued', 'sent', 'delivered') AND deadline <= $1 RETURNING id, org, device");
}

/// A command to a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// The device's organisation.
    pub org: OrgId,
    /// The device.
    pub device: DeviceId,
    /// Its name in the profile.
    pub name: String,
    /// Its arguments, as sent.
    pub args: Json,
    /// Where it stands.
    pub state: CommandState,
    /// The device's own words, or why it failed.
    pub detail: Option<String>,
    /// Who asked for it, by name.
    pub requested_by: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it expires if the device has not carried it out.
    pub deadline: Timestamp,
    /// When its state changed last.
    pub updated_at: Timestamp,
}

/// A command to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCommand {
    /// The organisation.
    pub org: OrgId,
    /// The device.
    pub device: DeviceId,
    /// Its name in the profile.
    pub name: String,
    /// Its arguments.
    pub args: Json,
    /// How long the device has.
    pub timeout: Duration,
}

/// How far along a state is; the last three are ends.
fn rank(state: CommandState) -> u8 {
    match state {
        CommandState::Queued => 0,
        CommandState::Sent => 1,
        CommandState::Delivered => 2,
        CommandState::Applied | CommandState::Failed | CommandState::Expired => 3,
    }
}

fn code(state: CommandState) -> &'static str {
    match state {
        CommandState::Queued => "queued",
        CommandState::Sent => "sent",
        CommandState::Delivered => "delivered",
        CommandState::Applied => "applied",
        CommandState::Failed => "failed",
        CommandState::Expired => "expired",
    }
}

type CommandRow = (Uuid, Uuid, String, String, String, String, Option<String>, String, DbTime, DbTime, DbTime);

fn command(row: CommandRow) -> Result<Command> {
    let (id, org, device, called, args, state, detail, requested_by, created_at, deadline, updated_at) = row;
    Ok(Command {
        id: CommandId(id),
        org: OrgId(org),
        device: name("device id", &device)?,
        name: called,
        args: from_document("command's arguments", &args)?,
        state: from_code("command's state", &state)?,
        detail,
        requested_by,
        created_at: created_at.into(),
        deadline: deadline.into(),
        updated_at: updated_at.into(),
    })
}

async fn advance(
    tx: &mut Tx,
    id: CommandId,
    device: Option<&DeviceId>,
    state: CommandState,
    detail: Option<&str>,
    now: Timestamp,
) -> Result<Option<Change>> {
    let what = "advancing a command";
    let row: Option<(Uuid, String, String)> = fetch_optional!(tx, what, STATE, id.0)?;
    let Some((org, owner, stands)) = row else { return Ok(None) };
    if device.is_some_and(|device| device.as_str() != owner)
        || rank(state) <= rank(from_code("command's state", &stands)?)
    {
        return Ok(None);
    }
    execute!(tx, what, ADVANCE, id.0, code(state), detail.map(text), at(now))?;
    Ok(Some(Change::Command { org: OrgId(org), device: name("device id", &owner)?, command: id }))
}

/// A device's answer; nothing happens if the command is another device's, unknown, or already further.
pub(crate) async fn apply_result(
    tx: &mut Tx,
    device: &DeviceId,
    result: &CommandResult,
    now: Timestamp,
) -> Result<Option<Change>> {
    advance(tx, result.command, Some(device), result.state, result.detail.as_deref(), now).await
}

impl Store {
    /// Queues a command. `None` if the organisation has no such device.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn queue_command(&self, new: &NewCommand, by: &AuditActor, now: Timestamp) -> Result<Option<Command>> {
        let id = new_id(now);
        let requested_by = match by {
            AuditActor::Hub => "hub".to_owned(),
            AuditActor::CommandLine => "command line".to_owned(),
            AuditActor::User { name, .. } => name.clone(),
        };
        let (args, deadline) = (document("command's arguments", &new.args)?, now + new.timeout);
        let (org, device, called) = (new.org.0, new.device.as_str(), text(&new.name));
        let mut tx = self.db().begin().await?;
        let asked = text(&requested_by);
        let what = "queueing a command";
        if execute!(&mut tx, what, INSERT, id, org, device, called, args, asked, at(now), at(deadline))? == 0 {
            return Ok(None);
        }
        let detail = json!({ "command": new.name, "args": new.args });
        let line = audit::Line { org: Some(new.org), by, action: "device.command", subject: device, detail: &detail };
        audit::write(&mut tx, line, now).await?;
        tx.commit().await?;
        let id = CommandId(id);
        self.announce(Change::Command { org: new.org, device: new.device.clone(), command: id });
        let NewCommand { org, device, name, args, .. } = new.clone();
        let (state, created_at, updated_at) = (CommandState::Queued, now, now);
        Ok(Some(Command {
            id,
            org,
            device,
            name,
            args,
            state,
            detail: None,
            requested_by,
            created_at,
            deadline,
            updated_at,
        }))
    }

    /// Takes commands back to the queue that were sent but that no device has said it received. For the start of a hub
    /// whose own connections held them: a device may then receive one twice, under the same id. Returns how many.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn requeue_sent_commands(&self, now: Timestamp) -> Result<u64> {
        self.requeue(None, now).await
    }

    /// Takes one command back to the queue, as [`Store::requeue_sent_commands`] does all. False if it is not merely sent any more.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn requeue_sent_command(&self, id: CommandId, now: Timestamp) -> Result<bool> {
        self.requeue(Some(id), now).await.map(|rows| rows > 0)
    }

    async fn requeue(&self, only: Option<CommandId>, now: Timestamp) -> Result<u64> {
        execute!(&self.db().write, "queueing sent commands anew", REQUEUE, at(now), only.map(|id| id.0))
    }

    /// Commands that no broker has yet and whose deadline has not passed, oldest first, after the one given.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn queued_commands(&self, now: Timestamp, after: Option<CommandId>, limit: u32) -> Result<Vec<Command>> {
        let after = after.map_or(Uuid::nil(), |id| id.0);
        let rows: Vec<CommandRow> =
            fetch_all!(self.db().read, "listing queued commands", QUEUED, at(now), after, i64::from(limit))?;
        rows.into_iter().map(command).collect()
    }

    /// A device's commands, newest first.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn commands(&self, org: OrgId, device: &DeviceId, limit: u32) -> Result<Vec<Command>> {
        let rows: Vec<CommandRow> =
            fetch_all!(self.db().read, "listing commands", OF_DEVICE, org.0, device.as_str(), i64::from(limit))?;
        rows.into_iter().map(command).collect()
    }

    /// Moves a command forward. False if it is unknown or already as far.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn advance_command(
        &self,
        id: CommandId,
        state: CommandState,
        detail: Option<&str>,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.db().begin().await?;
        let change = advance(&mut tx, id, None, state, detail, now).await?;
        tx.commit().await?;
        let moved = change.is_some();
        change.into_iter().for_each(|change| self.announce(change));
        Ok(moved)
    }

    /// Ends commands whose deadline has passed. Returns how many.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn expire_commands(&self, now: Timestamp) -> Result<u64> {
        let rows: Vec<(Uuid, Uuid, String)> = fetch_all!(self.db().write, "expiring commands", EXPIRE, at(now))?;
        for (id, org, device) in &rows {
            let device = name("device id", device)?;
            self.announce(Change::Command { org: OrgId(*org), device, command: CommandId(*id) });
        }
        Ok(rows.len() as u64)
    }
}
