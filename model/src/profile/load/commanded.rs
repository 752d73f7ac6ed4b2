//! What a profile lets the hub send down. A command or an argument that comes near a safety chain is an error of the
//! profile: it is never loaded, so it can never be sent.

use toml::Spanned;

use super::{Source, watched::Names};
use crate::profile::{CommandKind, ProfileError, raw::RawCommand, safety};

pub(super) fn commands(
    source: &Source<'_>,
    names: &Names<'_>,
    raw: Vec<Spanned<RawCommand>>,
) -> Result<Vec<CommandKind>, ProfileError> {
    let mut commands: Vec<CommandKind> = Vec::with_capacity(raw.len());
    let refuse = |what: &str, name: &Spanned<String>| {
        safety::check_name(what, name.as_ref(), names.channels)
            .map_err(|refusal| source.error(name.span().start, refusal.message, refusal.remedy))
    };
    for spanned in raw {
        let RawCommand { name, title, params, writes, timeout } = spanned.into_inner();
        let start = name.span().start;
        if name.as_ref().is_empty() || name.as_ref().len() > 64 {
            return Err(source.error(start, "the name of a command must have 1 to 64 characters", "shorten it"));
        }
        if commands.iter().any(|command| command.name == *name.as_ref()) {
            let message = format!("the command \"{}\" is declared twice", name.as_ref());
            return Err(source.error(start, message, "remove one of the two"));
        }
        refuse("the command", &name)?;
        params.iter().try_for_each(|param| refuse("the argument", param))?;
        let written = |channel: &Spanned<String>| {
            let found = names.channel(channel)?;
            if found.safety_chain {
                return Err(source.error(
                    channel.span().start,
                    format!(
                        "the command \"{}\" writes the channel \"{}\", which is of the safety chain",
                        name.as_ref(),
                        found.id
                    ),
                    "remove the command: nothing that the hub sends may reach a safety chain",
                ));
            }
            Ok(found.id.clone())
        };
        let writes = writes.iter().map(written).collect::<Result<_, _>>()?;
        let params = params.into_iter().map(Spanned::into_inner).collect();
        commands.push(CommandKind { name: name.into_inner(), title, params, writes, timeout });
    }
    Ok(commands)
}
