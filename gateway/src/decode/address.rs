//! Whose message it is: the device is registered, its profile is loaded, and the sender may speak for it.

use std::collections::BTreeMap;

use model::{DeviceId, Directory, Profile, RejectReason, codes::CodeTable};

use super::{DecodeOptions, Problem, quote, sentence};
use crate::{
    inbound::Message,
    route::Routes,
    topic::{self, TopicError},
};

/// Which devices a gateway may speak for: names, or `*` for all.
pub type Gateways = BTreeMap<DeviceId, Vec<String>>;

/// What a message is judged by.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) options: &'a DecodeOptions,
    pub(super) gateways: &'a Gateways,
    pub(super) directory: &'a Directory,
    /// How devices speak; learned on the way.
    pub(super) routes: &'a Routes,
}

/// A device that a message may speak of.
#[derive(Clone)]
pub(super) struct Known<'a> {
    pub(super) device: DeviceId,
    pub(super) profile: &'a Profile,
    /// The code set that it sends, if it has one of its own.
    pub(super) codes: Option<&'a CodeTable>,
}

/// A message, or a part of it, that is not usable because of whom it speaks of.
pub(super) struct Misaddressed {
    /// The device the reject belongs to, if one can be told.
    pub(super) device: Option<DeviceId>,
    pub(super) problem: Problem,
}

impl<'a> Context<'a> {
    pub(super) fn registered(&self, name: &str) -> Option<DeviceId> {
        self.directory.devices.get(name).map(|device| device.id.clone())
    }

    /// The registered device that sent the message; only the front door knows.
    pub(super) fn sender(&self, message: &Message) -> Option<DeviceId> {
        message.sender.as_ref().and_then(|sender| self.registered(sender.as_str()))
    }

    /// The device of this name. A connection of the front door speaks for itself and, if it is a gateway's, for the
    /// devices that the configuration gives it.
    pub(super) fn device(&self, name: &str, message: &Message) -> Result<Known<'a>, Misaddressed> {
        if let Some(sender) = message.sender.as_ref().filter(|sender| sender.as_str() != name)
            && !self.speaks_for(sender, name)
        {
            let detail = format!(
                "the device \"{sender}\" published under the name of \"{}\"; a device may publish only under \
                 {}/{sender}/…, and a gateway for the devices given to it in gateway.speaks_for",
                quote(name),
                self.options.prefix
            );
            return Err(Misaddressed { device: self.sender(message), problem: (RejectReason::Forbidden, detail) });
        }
        let Some(device) = self.directory.devices.get(name) else {
            let problem = match DeviceId::new(name) {
                Ok(name) => (
                    RejectReason::UnknownDevice,
                    format!(
                        "no device \"{name}\" is registered; import it with liftline device import FILE.csv, or let \
                         unknown devices enrol themselves with auto_register"
                    ),
                ),
                Err(error) => (RejectReason::BadTopic, sentence(&TopicError::Device(topic::shorten(error)))),
            };
            return Err(Misaddressed { device: None, problem });
        };
        let Some(profile) = self.directory.profiles.get(&device.profile) else {
            let detail = format!(
                "the device \"{}\" has the profile \"{}\", which is not loaded; add its file to the hub's profiles",
                device.id, device.profile
            );
            return Err(Misaddressed { device: None, problem: (RejectReason::UnknownDevice, detail) });
        };
        let codes = self.options.codes.of(&device.id, &profile.id);
        Ok(Known { device: device.id.clone(), profile, codes })
    }

    pub(super) fn speaks_for(&self, sender: &DeviceId, name: &str) -> bool {
        self.gateways.get(sender).is_some_and(|devices| devices.iter().any(|device| device == "*" || device == name))
    }

    /// Refuses a payload that is too large.
    pub(super) fn fits(&self, message: &Message) -> Result<(), Problem> {
        if message.payload.len() <= self.options.max_payload {
            return Ok(());
        }
        let detail = format!(
            "the payload has {} bytes and at most {} are accepted; send fewer values in one message",
            message.payload.len(),
            self.options.max_payload
        );
        Err((RejectReason::TooLarge, detail))
    }
}
