//! Commands to devices. The board only writes them down; the hub sends them.

use axum::{Json, extract::State, http::StatusCode};
use model::{DeviceId, profile::Refusal};
use store::NewCommand;

use super::{
    dto::{CommandList, CommandRequest, CommandView, ErrorBody},
    error::ApiError,
    extract::{Body, Id},
    view,
};
use crate::{auth::Session, state::Shared};

const MAX_COMMANDS: u32 = 50;
/// The largest arguments, in bytes of JSON.
const MAX_ARGS: usize = 4 * 1024;

/// The newest commands to a device.
#[utoipa::path(get, path = "/api/v1/devices/{id}/commands", tag = "devices",
    params(("id" = String, Path, description = "The device's name in MQTT topics")),
    responses(
        (status = 200, body = CommandList),
        (status = 401, description = "Not logged in", body = ErrorBody),
        (status = 404, description = "No such device in the user's organisation", body = ErrorBody),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    session: Session,
    Id(id): Id<DeviceId>,
) -> Result<Json<CommandList>, ApiError> {
    let device = app.store().device(session.org(), &id).await?.ok_or_else(|| ApiError::not_found("device"))?;
    let directory = app.directory();
    let profile = directory.profiles.get(&device.device.profile).map(|profile| &**profile);
    let commands = app.store().commands(session.org(), &id, MAX_COMMANDS).await?;
    Ok(Json(CommandList { commands: commands.into_iter().map(|command| view::command(profile, command)).collect() }))
}

/// Send a command. Only commands of the device's profile are taken; none of them reaches a safety circuit.
#[utoipa::path(post, path = "/api/v1/devices/{id}/commands", tag = "devices",
    params(("id" = String, Path, description = "The device's name in MQTT topics")),
    request_body = CommandRequest,
    responses(
        (status = 202, description = "Written down; its state tells what became of it", body = CommandView),
        (status = 400, description = "Not a command of the device's profile", body = ErrorBody),
        (status = 401, description = "Not logged in", body = ErrorBody),
        (status = 403, description = "Not allowed to this user", body = ErrorBody),
        (status = 404, description = "No such device in the user's organisation", body = ErrorBody),
    )
)]
pub(crate) async fn send(
    State(app): State<Shared>,
    session: Session,
    Id(id): Id<DeviceId>,
    Body(request): Body<CommandRequest>,
) -> Result<(StatusCode, Json<CommandView>), ApiError> {
    let device = app.store().device(session.org(), &id).await?.ok_or_else(|| ApiError::not_found("device"))?;
    let directory = app.directory();
    let profile = directory.profiles.get(&device.device.profile);
    let args = request.args.unwrap_or_default();
    let kind = match profile.map(|profile| profile.allow(&request.name, &args)) {
        Some(Ok(kind)) => kind,
        Some(Err(Refusal { message, remedy })) => {
            return Err(ApiError::bad_request(as_sentence(&message), as_sentence(&remedy)));
        }
        None => {
            let remedy = "Add its file to the hub's profiles.";
            return Err(ApiError::bad_request("The device's profile is not loaded.", remedy));
        }
    };
    let args = serde_json::Value::Object(args);
    if args.to_string().len() > MAX_ARGS {
        return Err(ApiError::bad_request("The arguments are too large.", "Send at most 4 KiB of JSON."));
    }
    let new = NewCommand { org: session.org(), device: id, name: kind.name.clone(), args, timeout: kind.timeout };
    let queued = app.store().queue_command(&new, &session.auditor(), app.now()).await?;
    let command = queued.ok_or_else(|| ApiError::not_found("device"))?;
    Ok((StatusCode::ACCEPTED, Json(view::command(profile.map(|profile| &**profile), command))))
}

/// The model's half of a sentence, as the API says it.
fn as_sentence(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if words.ends_with('?') { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}
