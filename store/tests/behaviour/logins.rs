//! Users, sessions, login links, commands.

use model::{CommandState, Language};
use serde_json::json;
use store::{AuditActor, NewCommand, NewUser, StoreError, User, UserRole};

use crate::{
    harness::{CLI, TestDb, World, device_id, secs, start},
    on_both_engines,
};

on_both_engines!(
    a_user_logs_in_until_disabled,
    a_session_ends_in_time_and_with_its_password,
    a_login_link_works_once,
    a_command_only_moves_forward,
    a_command_of_another_is_no_business_of_a_device,
    commands_expire,
    commands_that_no_device_has_are_queued_anew,
);

async fn user(db: &TestDb, world: &World) -> User {
    let new = NewUser {
        org: world.org,
        username: "dee".to_owned(),
        name: "Dee".to_owned(),
        role: UserRole::Dispatcher,
        language: Language::Zh,
        password_hash: Some("$argon2id$1".to_owned()),
    };
    db.store.create_user(&new, &CLI, start()).await.unwrap()
}

async fn a_user_logs_in_until_disabled(db: TestDb) {
    let world = World::new(&db).await;
    let dee = user(&db, &world).await;
    let (found, hash) = db.store.user_for_login("dee").await.unwrap().unwrap();
    assert_eq!((&found, hash.as_deref()), (&dee, Some("$argon2id$1")));
    assert_eq!(db.store.user(world.org, dee.id).await.unwrap(), Some(dee.clone()));
    assert_eq!(db.store.users(world.org).await.unwrap(), std::slice::from_ref(&dee));
    let again = NewUser {
        org: world.org,
        username: "dee".to_owned(),
        name: String::new(),
        role: UserRole::Admin,
        language: Language::En,
        password_hash: None,
    };
    assert!(matches!(db.store.create_user(&again, &CLI, start()).await, Err(StoreError::Taken { .. })));
    let session = db.store.create_session(dee.id, secs(60), start()).await.unwrap();
    let by = AuditActor::User { id: dee.id, name: "Dee".to_owned() };
    assert!(db.store.disable_user(world.org, dee.id, &by, start()).await.unwrap());
    assert!(!db.store.disable_user(world.org, dee.id, &by, start()).await.unwrap());
    assert_eq!(db.store.user_for_login("dee").await.unwrap(), None);
    assert_eq!(db.store.session(&session.token, start()).await.unwrap(), None);
    assert_eq!(db.store.user_by_username("dee").await.unwrap().unwrap().disabled_at, Some(start()));
    let log = db.store.audit_log(world.org, 1, None).await.unwrap();
    assert_eq!((log[0].action.as_str(), &log[0].actor), ("user.disable", &by));
}

async fn a_session_ends_in_time_and_with_its_password(db: TestDb) {
    let world = World::new(&db).await;
    let dee = user(&db, &world).await;
    let new = db.store.create_session(dee.id, secs(60), start()).await.unwrap();
    assert_ne!(new.token, new.csrf);
    assert!(!format!("{new:?}").contains(&new.token));
    let session = db.store.session(&new.token, start() + secs(59)).await.unwrap().unwrap();
    assert_eq!(
        (&session.user, session.csrf.as_str(), session.expires_at),
        (&dee, new.csrf.as_str(), start() + secs(60))
    );
    assert_eq!(db.store.session(&new.token, start() + secs(60)).await.unwrap(), None);
    assert_eq!(db.store.session("x", start()).await.unwrap(), None);
    assert!(db.store.end_session(&new.token).await.unwrap());
    assert!(!db.store.end_session(&new.token).await.unwrap());

    let other = db.store.create_session(dee.id, secs(60), start()).await.unwrap();
    assert!(db.store.set_password(dee.id, "$argon2id$2", &CLI, start()).await.unwrap());
    assert_eq!(db.store.session(&other.token, start()).await.unwrap(), None);
    assert_eq!(db.store.user_for_login("dee").await.unwrap().unwrap().1.as_deref(), Some("$argon2id$2"));
    let log = format!("{:?}", db.store.audit_log(world.org, 99, None).await.unwrap());
    assert!(log.contains("user.set_password") && !log.contains("argon2"), "no secret in the log");
    // What ended is removed in time.
    db.store.create_session(dee.id, secs(60), start()).await.unwrap();
    assert_eq!(db.store.prune(&store::Retention::default(), start() + secs(61)).await.unwrap(), 1);
}

async fn a_login_link_works_once(db: TestDb) {
    let world = World::new(&db).await;
    let dee = user(&db, &world).await;
    let token = db.store.create_login_link(dee.id, secs(60), start()).await.unwrap();
    let late = db.store.create_login_link(dee.id, secs(60), start()).await.unwrap();
    assert_eq!(db.store.redeem_login_link(&late, secs(99), start() + secs(60)).await.unwrap(), None);
    let (a, b) = tokio::join!(
        db.store.redeem_login_link(&token, secs(99), start()),
        db.store.redeem_login_link(&token, secs(99), start())
    );
    let sessions: Vec<_> = [a.unwrap(), b.unwrap()].into_iter().flatten().collect();
    assert_eq!(sessions.len(), 1);
    assert_eq!(db.store.session(&sessions[0].token, start()).await.unwrap().unwrap().user, dee);
}

fn command() -> impl Fn(&World, &str) -> NewCommand {
    |world, device| NewCommand {
        org: world.org,
        device: device_id(device),
        name: "reset".to_owned(),
        args: json!({ "floor": 3 }),
        timeout: secs(60),
    }
}

async fn a_command_only_moves_forward(db: TestDb) {
    let world = World::new(&db).await;
    let queued = db.store.queue_command(&command()(&world, "lift-1"), &CLI, start()).await.unwrap().unwrap();
    assert_eq!(db.store.queued_commands(start(), None, 9).await.unwrap(), std::slice::from_ref(&queued));
    let mv = async |state| db.store.advance_command(queued.id, state, None, start() + secs(1)).await.unwrap();
    assert!(mv(CommandState::Sent).await);
    assert!(!mv(CommandState::Queued).await);
    assert!(db.store.queued_commands(start(), None, 9).await.unwrap().is_empty());
    let done = db.store.advance_command(queued.id, CommandState::Applied, Some("ok"), start() + secs(2)).await.unwrap();
    assert!(done);
    for late in [CommandState::Delivered, CommandState::Failed, CommandState::Expired] {
        assert!(!mv(late).await);
    }
    let list = db.store.commands(world.org, &device_id("lift-1"), 9).await.unwrap();
    assert_eq!(
        (list[0].state, list[0].detail.as_deref(), list[0].updated_at),
        (CommandState::Applied, Some("ok"), start() + secs(2))
    );
}

async fn a_command_of_another_is_no_business_of_a_device(db: TestDb) {
    let world = World::new(&db).await;
    let other = World::named(&db.store, "Other", "b", "+8613900000000").await;
    assert_eq!(db.store.queue_command(&command()(&other, "lift-1"), &CLI, start()).await.unwrap(), None);
    let queued = db.store.queue_command(&command()(&world, "lift-1"), &CLI, start()).await.unwrap().unwrap();
    assert!(db.store.commands(other.org, &device_id("lift-1"), 9).await.unwrap().is_empty());
    let result =
        |state| model::CommandResult { time: start(), command: queued.id, state, detail: Some("me".to_owned()) };
    let batch = |device: &str, state| store::RecorderBatch {
        results: vec![(device_id(device), result(state))],
        ..store::RecorderBatch::default()
    };
    db.store.record(&batch("lift-2", CommandState::Applied), start()).await.unwrap();
    let state = async || db.store.commands(world.org, &device_id("lift-1"), 9).await.unwrap()[0].state;
    assert_eq!(state().await, CommandState::Queued);
    let mut changes = db.store.changes();
    db.store.record(&batch("lift-1", CommandState::Delivered), start()).await.unwrap();
    assert_eq!(state().await, CommandState::Delivered);
    let told = store::Change::Command { org: world.org, device: device_id("lift-1"), command: queued.id };
    assert_eq!(changes.try_recv().unwrap(), told);
}

/// What the connections of an earlier run of the hub held goes out again, page by page; what a device has is left.
async fn commands_that_no_device_has_are_queued_anew(db: TestDb) {
    let world = World::new(&db).await;
    let mut ids = Vec::new();
    for second in 0..3 {
        let queued = db.store.queue_command(&command()(&world, "lift-1"), &CLI, start() + secs(second)).await;
        ids.push(queued.unwrap().unwrap().id);
    }
    db.store.advance_command(ids[0], CommandState::Sent, None, start()).await.unwrap();
    db.store.advance_command(ids[1], CommandState::Delivered, None, start()).await.unwrap();
    assert_eq!(db.store.requeue_sent_commands(start() + secs(60)).await.unwrap(), 0, "its deadline has passed");
    assert_eq!(db.store.requeue_sent_commands(start() + secs(5)).await.unwrap(), 1);
    db.store.advance_command(ids[0], CommandState::Sent, None, start()).await.unwrap();
    assert!(!db.store.requeue_sent_command(ids[1], start() + secs(5)).await.unwrap(), "the device has it");
    assert!(!db.store.requeue_sent_command(ids[0], start() + secs(60)).await.unwrap(), "its deadline has passed");
    assert!(db.store.requeue_sent_command(ids[0], start() + secs(5)).await.unwrap());
    let page = async |after| {
        let page = db.store.queued_commands(start() + secs(5), after, 1).await.unwrap();
        page.first().map(|command| command.id)
    };
    let pages = [page(None).await, page(Some(ids[0])).await, page(Some(ids[2])).await];
    assert_eq!(pages, [Some(ids[0]), Some(ids[2]), None]);
}

async fn commands_expire(db: TestDb) {
    let world = World::new(&db).await;
    for device in ["lift-1", "lift-2"] {
        db.store.queue_command(&command()(&world, device), &CLI, start()).await.unwrap().unwrap();
    }
    let done = db.store.commands(world.org, &device_id("lift-2"), 9).await.unwrap()[0].id;
    db.store.advance_command(done, CommandState::Failed, None, start()).await.unwrap();
    assert!(db.store.queued_commands(start() + secs(60), None, 9).await.unwrap().is_empty());
    assert_eq!(db.store.expire_commands(start() + secs(59)).await.unwrap(), 0);
    assert_eq!(db.store.expire_commands(start() + secs(60)).await.unwrap(), 1);
    assert_eq!(db.store.expire_commands(start() + secs(60)).await.unwrap(), 0);
}
