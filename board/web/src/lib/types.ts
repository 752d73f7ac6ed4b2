// The shapes of the HTTP API, as described at /api/v1/openapi.json.

export type Language = "en" | "zh";
export type Text = { en: string; zh: string };
export type Kind = "entrapment" | "breakdown" | "forecast" | "test_failure" | "outage";
export type Severity = "info" | "minor" | "major" | "critical";
export type Status = "open" | "acknowledged" | "restored" | "closed";
export type MilestoneKind =
  | "detected"
  | "contacted"
  | "acknowledged"
  | "dispatched"
  | "en_route"
  | "arrived"
  | "released"
  | "restored"
  | "closed";
export type ActionCode =
  | "acknowledge"
  | "decline"
  | "escalate"
  | "assign"
  | "en_route"
  | "arrived"
  | "released"
  | "close"
  | "confirm_cause"
  | "note"
  | "add_affected";
export type Channel = "sms" | "voice" | "email" | "webhook";

export interface User {
  id: string;
  name: string;
  username: string;
  role: "admin" | "dispatcher" | "technician" | "viewer";
  language: Language;
}
export interface Me {
  user: User;
  org: { id: string; name: string };
  csrf: string;
  now: string;
}
export interface SiteRef {
  id: string;
  name: string;
  address: string;
}
export interface DeviceRef {
  id: string;
  name: string;
  plate: string | null;
}
export interface PersonRef {
  id: string;
  name: string;
}
export type PersonRole =
  "technician" | "rescue_station" | "fire_service" | "dispatcher" | "building_manager" | "resident";
export interface Actor {
  kind: "hub" | "device" | "person" | "user" | "affected" | "provider";
  id?: string;
  name?: string;
  channel?: Channel;
}
export interface Milestone {
  kind: MilestoneKind;
  at: string;
  actor?: Actor;
  proof?: Text;
}
/** Why people are paged, or are not. */
export interface Decision {
  code: string;
  pages: boolean;
  text: Text;
  until: string | null;
  ticket: string | null;
}
export interface TicketRef {
  id: string;
  number: number;
  title: Text;
  device: DeviceRef | null;
}
export type Occupancy = "trapped" | "inside" | "likely" | "unknown" | "empty";
/** A lift of a ticket that concerns several. */
export interface Lift {
  device: DeviceRef;
  occupancy: Occupancy;
  reason: Text;
  between_floors: boolean | null;
  floor: number | null;
  since: string | null;
  as_of: string | null;
  entrapment: TicketRef | null;
}
export interface Silence {
  id: string;
  author: string;
  reason: string;
  matchers: Record<string, string[]>;
  starts_at: string;
  ends_at: string;
  created_at: string;
  ended_by: string | null;
  state: "pending" | "active" | "ended";
}
export interface SilencePreview {
  alerts: number;
  devices: number;
  life_safety: number;
  covered: {
    alert: string;
    device: DeviceRef;
    rule: string;
    title: Text;
    severity: Severity;
    raised_at: string;
    life_safety: boolean;
    ticket: TicketRef | null;
  }[];
}
export interface TicketSummary {
  id: string;
  number: number;
  kind: Kind;
  severity: Severity;
  life_safety: boolean;
  status: Status;
  title: Text;
  site: SiteRef;
  device: DeviceRef | null;
  opened_at: string;
  closed_at: string | null;
  milestones: Milestone[];
  level: 1 | 2 | 3 | null;
  /** While people are being called `next_at` is the next call, otherwise the time to be on site. */
  calling: boolean;
  next_at: string | null;
  alerts_open: number;
  alerts_total: number;
  devices_affected: number;
  held: Decision | null;
  hold_open: string | null;
  assignee: PersonRef | null;
  affected: { total: number; inside: number };
  version: number;
}
export type Scalar = number | boolean | string;
export interface Observation {
  name: string;
  title: Text;
  value: Scalar | null;
  unit: string | null;
  time: string | null;
  supports: boolean;
}
export interface Forecast {
  channel: string;
  threshold: number;
  level: number;
  slope_per_day: number;
  expected_at: string;
  earliest_at: string;
  latest_at: string | null;
  coverage: number;
  observations: number;
}
export interface Evidence {
  summary: Text;
  condition: string;
  from: string | null;
  to: string | null;
  observations: Observation[];
  clears_when: Text;
  forecast: Forecast | null;
}
export interface Alert {
  id: string;
  device: DeviceRef;
  rule: string;
  source: "rule" | "detector" | "forecast";
  title: Text;
  reason: Text;
  severity: Severity;
  raised_at: string;
  cleared_at: string | null;
  evidence: Evidence | null;
}
export type What =
  | { type: "opened" | "exhausted" | "declined" | "overdue" }
  | { type: "alert_raised"; alert: string; device: string; title: Text; reason: Text; decision?: Decision }
  | {
      type: "severity_changed";
      alert: string;
      device: string;
      title: Text;
      from: Severity;
      to: Severity;
      decision?: Decision;
    }
  | { type: "decided"; decision: Decision }
  | { type: "held_open"; until: string }
  | { type: "alert_cleared"; alert: string; device: string; title: Text }
  | { type: "milestone"; milestone: MilestoneKind; proof: Text }
  | { type: "paged"; person: PersonRef; level: number; channels: Channel[] }
  | { type: "nobody_on_call"; level: number }
  | { type: "assigned"; person: PersonRef }
  | { type: "affected_added"; affected: string }
  | { type: "cause_confirmed"; cause: CauseRef }
  | { type: "parts_used"; parts: Text[] }
  | { type: "note"; text: string };
export interface TimelineEntry {
  seq: number;
  at: string;
  actor: Actor;
  what: What;
}
export interface AffectedPerson {
  id: string;
  name: string | null;
  address: string;
  channel: Channel;
  language: Language;
  inside: boolean;
  added_at: string;
  care_url: string | null;
}
export interface Responder {
  person: PersonRef;
  level: number;
  paged_at: string;
  delivered_at: string | null;
  acknowledged_at: string | null;
  declined_at: string | null;
}
export interface Message {
  id: string;
  to: string | null;
  channel: Channel;
  address: string;
  purpose: "page" | "stand_down" | "care_link" | "progress" | "notice" | "update" | "answer";
  state: "pending" | "sent" | "cancelled" | "dead" | "delivered" | "answered";
  attempts: number;
  created_at: string;
  last_error: string | null;
}
export interface Runbook {
  id: string;
  title: Text;
  steps: Text[];
  parts: Text[];
  tools: Text[];
  skill: Text;
  duration: string;
}
/** A cause, or `nothing_found`. */
export interface CauseRef {
  id: string;
  name: Text;
}
export interface Cause extends CauseRef {
  probability: number;
  confirmed: number;
  prepared: boolean;
  parts: Text[];
  duration: string;
  runbook: string;
  source: string;
}
/** What a visit should be prepared for. */
export interface Preparation {
  causes: Cause[];
  parts: { name: Text; probability: number; used: number; repairs: number }[];
  tools: Text[];
  skills: Text[];
  usual: string;
  longest: string;
}
/** Whom a device that is out, or will be, affects. */
export interface Impact {
  alternatives: number;
  others: number;
  time_out: string;
  cases: number | null;
  expected_at: string | null;
  crowd: {
    population: number;
    vulnerable: number;
    traffic: "office" | "residential" | "hospital";
    hours: { at: string; people: number }[];
    people_out: number;
    visit: { from: string; to: string; people: number } | null;
  } | null;
}
export interface TicketDetail extends TicketSummary {
  alerts: Alert[];
  timeline: TimelineEntry[];
  affected_people: AffectedPerson[];
  responders: Responder[];
  messages: Message[];
  runbook: Runbook | null;
  preparation: Preparation | null;
  impact: Impact | null;
  false_alarms: { count: number; told: number } | null;
  cause: CauseRef | null;
  known_causes: CauseRef[];
  parts_used: Text[] | null;
  known_parts: Text[];
  forecast: Forecast | null;
  lifts: Lift[];
  explains: TicketRef[];
  actions: ActionCode[];
}
export interface DeviceSummary {
  id: string;
  name: string;
  plate: string | null;
  profile: { id: string; name: Text };
  site: SiteRef;
  online: boolean | null;
  last_seen: string | null;
  open_tickets: number;
}
export interface ChannelInfo {
  id: string;
  name: Text;
  type: "number" | "bool" | "text" | "state";
  unit: string | null;
  min: number | null;
  max: number | null;
  states?: string[];
  latest: { value: Scalar; time: string } | null;
}
export interface DeviceDetail extends DeviceSummary {
  channels: ChannelInfo[];
  rules: {
    id: string;
    source: string;
    title: Text;
    severity: Severity;
    ticket: Kind;
    life_safety: boolean;
    condition: string;
    origin: string | null;
  }[];
  commands: { name: string; title: Text }[];
  tickets: TicketSummary[];
  alerts: Alert[];
  events: { time: string; code: string; name: Text }[];
}
/** `[time in ms, min, avg, max, count]` for numbers, `[time in ms, value]` where the value changes for the rest. */
export type BucketPoint = [number, number, number, number, number];
export interface Series {
  channel: string;
  unit: string | null;
  kind: "series" | "steps";
  from: string;
  to: string;
  bucket_s: number;
  points: (BucketPoint | [number, string])[];
}
export interface Command {
  id: string;
  name: string;
  title: Text;
  requested_by: string;
  state: "queued" | "sent" | "delivered" | "applied" | "failed" | "expired";
  detail: string | null;
  created_at: string;
}
export interface Person {
  id: string;
  name: string;
  role: PersonRole;
}
export interface RejectPage {
  total: number;
  counts: Record<string, number>;
  kept: Record<string, number>;
  devices: { device: string; count: number; last_at: string }[];
  rejects: {
    received_at: string;
    device: string | null;
    topic: string;
    reason: string;
    detail: string;
    payload: string;
  }[];
}
export interface Score {
  log_loss: number;
  brier: number;
  roc_auc: number | null;
  pr_auc: number | null;
  stated: number;
}

export interface Scorecard {
  profile: string;
  name: Text;
  horizon: string;
  horizon_seconds: number;
  model: {
    id: string;
    state: "champion" | "challenger";
    method: "model" | "naive_rule" | null;
    trained_at: string;
    promoted_at: string | null;
  } | null;
  last_made_at: string | null;
  open: number;
  forecasts: number;
  failures: number;
  base_rate: number;
  alerts: number;
  right_alerts: number;
  liftline: Score;
  naive: Score;
  calibration: { forecasts: number; stated: number; observed: number }[];
}

export interface System {
  journal: { lane: string; head: number; lag: number; bytes: number }[];
  recorder_lag: number;
  watch_lag: number;
  links: { name: string; state: "up" | "down"; since: string; detail: string }[];
  alarms: Text[];
}
