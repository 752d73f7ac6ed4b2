//! People.

use axum::{Json, extract::State};

use super::{
    dto::{ErrorBody, PersonList, PersonView},
    error::ApiError,
    view,
};
use crate::{auth::Session, state::Shared};

const MAX_PEOPLE: usize = 1_000;

/// The people of the user's organisation, by name.
#[utoipa::path(get, path = "/api/v1/people", tag = "organisation", responses(
    (status = 200, body = PersonList),
    (status = 401, description = "Not logged in", body = ErrorBody),
    (status = 403, description = "Not allowed to this user", body = ErrorBody),
))]
pub(crate) async fn list(State(app): State<Shared>, session: Session) -> Result<Json<PersonList>, ApiError> {
    let mut people = app.store().people(session.org()).await?;
    people.sort_by(|a, b| a.name.cmp(&b.name));
    let people = people
        .into_iter()
        .take(MAX_PEOPLE)
        .map(|person| PersonView {
            id: person.id,
            role: person.role,
            language: person.language,
            receivers: person.receivers.iter().map(|receiver| view::receiver(&session, receiver)).collect(),
            name: person.name,
        })
        .collect();
    Ok(Json(PersonList { people }))
}
