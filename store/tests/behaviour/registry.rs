//! Organisations and what belongs to them.

use model::{Device, MessageChannel, ProfileId, RescueLevel, SiteId, SiteUse, Traffic};
use store::{DeviceFilter, NewRota, NewSite, StoreError, Subscription};

use crate::{
    harness::{CLI, TestDb, World, device_id, start},
    on_both_engines,
};

on_both_engines!(
    names_are_unique_where_they_must_be,
    devices_are_registered_changed_and_found,
    a_device_cannot_be_taken_over,
    an_import_is_all_or_nothing,
    organisations_do_not_see_each_other,
    people_are_found_by_what_they_write_from,
    only_the_organisations_own_can_be_named,
    a_site_of_its_own_rota_is_its_own_affair,
    changes_leave_their_trace,
    a_site_s_use_is_said_and_corrected,
);

async fn names_are_unique_where_they_must_be(db: TestDb) {
    let world = World::new(&db).await;
    let taken = db.store.create_org("Metro", start()).await.unwrap_err();
    assert_eq!(taken.to_string(), "the organisation \"Metro\" exists already; choose another");
    let site = |org| NewSite { org, name: "North tower".into(), address: String::new(), time_zone: "UTC".into() };
    assert!(matches!(db.store.create_site(&site(world.org), start()).await, Err(StoreError::Taken { .. })));
    let other = db.store.create_org("Other", start()).await.unwrap();
    db.store.create_site(&site(other.id), start()).await.unwrap();
    assert_eq!(db.store.site_by_name(world.org, "North tower").await.unwrap().unwrap(), world.site);
    assert_eq!(db.store.sites(world.org).await.unwrap().len(), 1);
}

async fn devices_are_registered_changed_and_found(db: TestDb) {
    let world = World::new(&db).await;
    let summary = db.store.device(world.org, &device_id("lift-1")).await.unwrap().unwrap();
    assert_eq!(summary.site, world.site);
    assert_eq!((summary.open_tickets, summary.state.online, summary.state.last_seen), (0, None, None));
    let renamed = Device { name: "Goods_lift 100%".to_owned(), ..summary.device.clone() };
    let before = db.store.directory_version().await.unwrap();
    assert_eq!(db.store.directory_version().await.unwrap(), before);
    db.store.upsert_device(&renamed, None, &CLI, start()).await.unwrap();
    assert_ne!(db.store.directory_version().await.unwrap(), before, "whoever keeps a picture of the devices is told");
    // No new secret: the old one stays.
    assert_eq!(db.store.credentials().await.unwrap()[&device_id("lift-1")], [1; 32]);
    db.store.upsert_device(&renamed, Some([9; 32]), &CLI, start()).await.unwrap();
    assert_eq!(db.store.credentials().await.unwrap()[&device_id("lift-1")], [9; 32]);

    let find = async |text: &str| {
        let filter = DeviceFilter { text: Some(text.to_owned()), limit: 10, ..DeviceFilter::default() };
        let found = db.store.devices(world.org, &filter).await.unwrap();
        found.into_iter().map(|summary| summary.device.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(find("goods_").await, ["lift-1"]);
    assert_eq!(find("100%").await, ["lift-1"]);
    assert_eq!(find("north TOWER").await, ["lift-1", "lift-2"]);
    assert_eq!(find("LIFT0002").await, ["lift-2"]);
    assert!(find("_%_").await.is_empty(), "wildcards are plain characters");

    let page = DeviceFilter { limit: 1, after: Some(device_id("lift-1")), ..DeviceFilter::default() };
    assert_eq!(db.store.devices(world.org, &page).await.unwrap()[0].device.id, device_id("lift-2"));
    let none = DeviceFilter { limit: 9, profile: Some(ProfileId::new("pump").unwrap()), ..DeviceFilter::default() };
    assert!(db.store.devices(world.org, &none).await.unwrap().is_empty());
    assert_eq!(db.store.directory_devices().await.unwrap().len(), 2);
    assert_eq!(db.store.device_by_plate("lift0002").await.unwrap().unwrap().id, device_id("lift-2"));
}

async fn a_device_cannot_be_taken_over(db: TestDb) {
    let world = World::new(&db).await;
    let thief = World::named(&db.store, "Thief", "t", "+8613900000000").await;
    let mine = db.store.device(world.org, &device_id("lift-1")).await.unwrap().unwrap().device;
    let stolen = Device { org: thief.org, site: thief.site.id, plate: None, ..mine.clone() };
    assert!(matches!(
        db.store.upsert_device(&stolen, Some([0; 32]), &CLI, start()).await,
        Err(StoreError::Taken { .. })
    ));
    let same_plate = Device { id: device_id("lift-9"), ..mine.clone() };
    let error = db.store.upsert_device(&same_plate, None, &CLI, start()).await.unwrap_err();
    assert!(error.to_string().contains("plate number \"lift0001\""), "{error}");
    let foreign_site = Device { id: device_id("lift-9"), plate: None, site: thief.site.id, ..mine.clone() };
    assert!(matches!(
        db.store.upsert_device(&foreign_site, None, &CLI, start()).await,
        Err(StoreError::Missing { .. })
    ));
    assert_eq!(db.store.device(world.org, &device_id("lift-1")).await.unwrap().unwrap().device, mine);
}

async fn an_import_is_all_or_nothing(db: TestDb) {
    let world = World::new(&db).await;
    let device = |id: &str, site| Device {
        id: device_id(id),
        org: world.org,
        site,
        profile: ProfileId::new("lift").unwrap(),
        name: id.to_owned(),
        plate: None,
    };
    let nowhere = SiteId(uuid::Uuid::nil());
    let list = [(device("new-1", world.site.id), None), (device("new-2", nowhere), None)];
    assert!(db.store.upsert_devices(&list, &CLI, start()).await.is_err());
    assert!(db.store.device(world.org, &device_id("new-1")).await.unwrap().is_none());
}

async fn organisations_do_not_see_each_other(db: TestDb) {
    let a = World::new(&db).await;
    let b = World::named(&db.store, "Other", "b", "+8613900000000").await;
    let store = &db.store;
    assert!(store.device(b.org, &device_id("lift-1")).await.unwrap().is_none());
    assert!(store.site(b.org, a.site.id).await.unwrap().is_none());
    assert!(store.person(b.org, a.ann.id).await.unwrap().is_none());
    assert!(store.person_by_name(b.org, "Ann").await.unwrap().is_some_and(|person| person.id == b.ann.id));
    let filter = DeviceFilter { limit: 100, ..DeviceFilter::default() };
    assert!(store.devices(b.org, &filter).await.unwrap().iter().all(|summary| summary.device.org == b.org));
    assert!(store.people(b.org).await.unwrap().iter().all(|person| person.org == b.org));
    assert!(store.rotas(b.org).await.unwrap().iter().all(|rota| rota.org == b.org));
    assert!(store.audit_log(b.org, 100, None).await.unwrap().iter().all(|line| line.subject != "lift-1"));
}

async fn people_are_found_by_what_they_write_from(db: TestDb) {
    let world = World::new(&db).await;
    let find = async |channel, address| db.store.person_by_address(channel, address).await.unwrap().map(|p| p.id);
    assert_eq!(find(MessageChannel::Sms, "+8613800000000").await, Some(world.ann.id));
    // The station has no voice receiver of its own: its text number is the same telephone.
    assert_eq!(find(MessageChannel::Voice, "+8613800000119").await, Some(world.station.id));
    assert_eq!(find(MessageChannel::Email, "+8613800000119").await, None);
    assert_eq!(find(MessageChannel::Sms, "nobody").await, None);
    let ann = db.store.person(world.org, world.ann.id).await.unwrap().unwrap();
    assert_eq!(ann, world.ann, "with receivers in their order");
    assert_eq!(db.store.people(world.org).await.unwrap().len(), 3);
}

async fn only_the_organisations_own_can_be_named(db: TestDb) {
    let a = World::new(&db).await;
    let b = World::named(&db.store, "Other", "b", "+8613900000000").await;
    let foreign = Subscription::Site(b.site.id);
    assert!(matches!(db.store.subscribe(a.org, a.ann.id, &foreign).await, Err(StoreError::Missing { .. })));
    let own = Subscription::Device(device_id("lift-1"));
    db.store.subscribe(a.org, a.ann.id, &own).await.unwrap();
    db.store.subscribe(a.org, a.ann.id, &own).await.unwrap();
    let rota = |site, members| NewRota {
        org: a.org,
        site,
        level: RescueLevel::Maintainer,
        time_zone: "UTC".into(),
        first_handover: "2026-01-05T08:00".into(),
        shift_days: 1,
        members,
        together: 1,
    };
    for bad in [rota(Some(b.site.id), vec![a.ann.id]), rota(None, vec![a.ann.id, b.ann.id])] {
        assert!(matches!(db.store.create_rota(&bad, &CLI, start()).await, Err(StoreError::Missing { .. })));
    }
    assert_eq!(db.store.rotas(a.org).await.unwrap().len(), 2, "a refused rota leaves nothing behind");
}

async fn a_site_of_its_own_rota_is_its_own_affair(db: TestDb) {
    let world = World::new(&db).await;
    let contacts = async || {
        let contacts = db.store.duty_contacts(start()).await.unwrap();
        contacts.into_iter().map(|c| (c.level, c.person, c.receivers.len())).collect::<Vec<_>>()
    };
    let levels = [RescueLevel::Maintainer, RescueLevel::Station];
    assert_eq!(contacts().await, [(levels[0], world.ann.id, 3), (levels[1], world.station.id, 1)]);
    let rota = NewRota {
        org: world.org,
        site: Some(world.site.id),
        level: RescueLevel::Maintainer,
        time_zone: "Nowhere/Atlantis".into(),
        first_handover: "2026-01-05T08:00".into(),
        shift_days: 7,
        members: vec![world.manager.id],
        together: 1,
    };
    // It cannot be read, so that nobody is called from it, and the others are all the same.
    db.store.create_rota(&rota, &CLI, start()).await.unwrap();
    assert_eq!(contacts().await, [(levels[1], world.station.id, 1)]);
    let good = NewRota { time_zone: "Asia/Shanghai".into(), ..rota };
    db.store.create_rota(&good, &CLI, start()).await.unwrap();
    assert_eq!(contacts().await, [(levels[0], world.manager.id, 1), (levels[1], world.station.id, 1)]);
}

async fn changes_leave_their_trace(db: TestDb) {
    let world = World::new(&db).await;
    let log = db.store.audit_log(world.org, 100, None).await.unwrap();
    let actions: Vec<&str> = log.iter().rev().map(|line| line.action.as_str()).collect();
    assert_eq!(actions[..3], ["organisation.create", "device.register", "device.register"]);
    assert!(actions.contains(&"person.create") && actions.contains(&"rota.create"), "{actions:?}");
    assert!(log.iter().all(|line| line.actor == CLI && !line.detail.to_string().contains("secret_sha256")));
    let older = db.store.audit_log(world.org, 100, Some(log[1].id)).await.unwrap();
    assert_eq!(older, log[2..]);
}

async fn a_site_s_use_is_said_and_corrected(db: TestDb) {
    let world = World::new(&db).await;
    let (org, site) = (world.org, world.site.id);
    assert_eq!(db.store.site_use(org, site).await.unwrap(), None);
    let first = SiteUse { population: 900, traffic: Traffic::Hospital, vulnerable: 400 };
    assert!(db.store.set_site_use(org, site, &first).await.unwrap());
    assert_eq!(db.store.site_use(org, site).await.unwrap(), Some(first));
    let other = db.store.create_org("Other", start()).await.unwrap().id;
    let theirs = SiteUse { population: 1, traffic: Traffic::Office, vulnerable: 0 };
    assert!(!db.store.set_site_use(other, site, &theirs).await.unwrap(), "not their site");
    assert_eq!(db.store.site_use(other, site).await.unwrap(), None);
    for traffic in Traffic::ALL {
        let corrected = SiteUse { population: 1_000_000, traffic, vulnerable: 0 };
        assert!(db.store.set_site_use(org, site, &corrected).await.unwrap());
        assert_eq!(db.store.site_use(org, site).await.unwrap(), Some(corrected));
    }
}
