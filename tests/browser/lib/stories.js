// What devices say in the tests, as they would say it.

/** A car stands between floors with a person inside, doors shut, and the button is pressed. */
export async function shutIn(hub, device) {
  const now = Date.now();
  const stuck = {
    car_speed_m_s: 0,
    door_zone: false,
    door_state: "closed",
    passenger_present: true,
    car_load_kg: 75,
    mains_present: true,
    safety_chain_closed: false,
    service_mode: "normal",
  };
  await hub.publish(device, "telemetry", { ts: now - 28_000, values: stuck });
  await hub.publish(device, "events", { ts: now - 26_000, code: "alarm_button" });
  // Before what the story of the release begins with: what comes later than later messages counts from when it comes.
  await hub.publish(device, "telemetry", { ts: now - 16_000, values: stuck });
}

/** The car comes to a landing and opens; the alarm is ended. */
export async function letOut(hub, device) {
  const now = Date.now();
  const open = {
    car_speed_m_s: 0,
    door_zone: true,
    door_state: "open",
    passenger_present: false,
    car_load_kg: 0,
    safety_chain_closed: true,
  };
  await hub.publish(device, "telemetry", { ts: now - 15_000, values: open });
  await hub.publish(device, "events", { ts: now - 14_000, code: "alarm_end" });
  await hub.publish(device, "telemetry", { ts: now, values: open });
}

/** The device says that it is broken, or runs again. */
export async function unitState(hub, device, state) {
  await hub.publish(device, "telemetry", { ts: Date.now(), values: { unit_state: state } });
}

/** The mains are lost. */
export async function mainsLost(hub, devices) {
  const now = Date.now();
  for (const device of devices) {
    await hub.publish(device, "telemetry", { ts: now - 4000, values: { mains_present: false } });
    await hub.publish(device, "telemetry", { ts: now, values: { mains_present: false } });
  }
}

/** A door that has closed more slowly every day for twelve days, one reading an hour. */
export async function wearingDoor(hub, device) {
  const [hour, days] = [3_600_000, 12];
  const samples = Array.from({ length: days * 24 }, (_, n) => {
    const ts = Date.now() - (days * 24 - n) * hour;
    // A little unrest that is the same in every run.
    const unrest = Math.sin(n * 12.9898) * 0.12;
    return { ts, values: { door_close_time_s: Number((3.6 + (n / 24) * 0.28 + unrest).toFixed(3)) } };
  });
  for (let n = 0; n < samples.length; n += 48)
    await hub.publish(device, "telemetry", samples.slice(n, n + 48));
}
