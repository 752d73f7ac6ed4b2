//! Schema-only names for the closed sets of codes that `model` and `desk` own, so that the API description lists
//! their members without repeating them.

use std::borrow::Cow;

use model::{DeliveryState, MessageChannel, MilestoneKind, PersonRole, RejectReason, Severity, TicketKind};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

fn text_of(values: Vec<&'static str>) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values)).into()
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $values:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                text_of($values)
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )+};
}

codes! {
    /// A kind of ticket.
    KindCode = TicketKind::ALL.map(TicketKind::code).to_vec();
    /// When people come and go at a site.
    TrafficCode = model::Traffic::ALL.map(model::Traffic::code).to_vec();
    /// How bad it is.
    SeverityCode = [Severity::Info, Severity::Minor, Severity::Major, Severity::Critical].map(Severity::code).to_vec();
    /// Where a ticket stands.
    StatusCode = {
        use desk::Status::{Acknowledged, Closed, Open, Restored};
        [Open, Acknowledged, Restored, Closed].map(desk::Status::code).to_vec()
    };
    /// A milestone.
    MilestoneCode = MilestoneKind::ALL.iter().map(|kind| kind.code()).collect();
    /// A way that a message can go.
    ChannelCode = MessageChannel::ALL.map(MessageChannel::code).to_vec();
    /// What a person does.
    PersonRoleCode = PersonRole::ALL.map(PersonRole::code).to_vec();
    /// Where a message stands.
    DeliveryCode = DeliveryState::ALL.map(DeliveryState::code).to_vec();
    /// Why an input was rejected.
    RejectCode = RejectReason::ALL.iter().map(|reason| reason.code()).collect();
    /// What found an alert.
    AlertSourceCode = vec!["rule", "detector", "forecast"];
    /// Why a message is sent.
    PurposeCode = vec!["page", "stand_down", "care_link", "progress", "notice", "update", "answer"];
    /// Where a command stands.
    CommandStateCode = vec!["queued", "sent", "delivered", "applied", "failed", "expired"];
    /// What a user of the board may do, from least to most.
    RoleCode = vec!["viewer", "technician", "dispatcher", "admin"];
    /// How likely somebody is inside a lift, the first to go to first.
    OccupancyCode = {
        use desk::rank::Occupancy::{Empty, Inside, Likely, Trapped, Unknown};
        [Trapped, Inside, Likely, Unknown, Empty].map(desk::rank::Occupancy::code).to_vec()
    };
    /// A language of the interface.
    LanguageCode = vec!["en", "zh"];
}
