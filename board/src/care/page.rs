//! The care page itself: one HTML document, everything inline, at most 50 kB.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use model::Language;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    story::Story,
    words::{self, Labels},
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("live.js");

/// The page may run this one script and style, talk to its own hub, and nothing else.
pub(super) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// Where the person is.
pub(super) struct Place<'a> {
    pub name: &'a str,
    pub plate: Option<&'a str>,
    pub site: &'a str,
    pub address: &'a str,
}

/// All that the page shows.
pub(super) struct View<'a> {
    pub token: &'a str,
    pub language: Language,
    pub emergency_number: Option<&'a str>,
    pub number: u64,
    pub inside: bool,
    pub place: Place<'a>,
    pub story: &'a Story,
    /// The hub's time of day at the site.
    pub as_of: &'a str,
    /// The site's IANA time zone: the script tells times in it too.
    pub zone: &'a str,
}

/// What the script fetches: the same content as the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct CareState {
    /// Changes when the content does.
    pub mark: String,
    /// Where things stand, in one sentence.
    pub headline: String,
    /// The rest of the page, as HTML.
    pub html: String,
    /// Nothing more will happen.
    pub over: bool,
}

pub(super) fn state(view: &View<'_>) -> CareState {
    let html = live(view).into_string();
    let mark = hex::encode(&Sha256::digest(format!("{}\n{html}", view.story.headline).as_bytes())[..8]);
    CareState { mark, headline: view.story.headline.clone(), html, over: view.story.over }
}

pub(super) fn page(view: &View<'_>) -> String {
    let labels = words::labels(view.language);
    let state = state(view);
    let other = match view.language {
        Language::En => Language::Zh,
        Language::Zh => Language::En,
    };
    let path = format!("/c/{}", view.token);
    let markup = html! {
        (DOCTYPE)
        html lang=(view.language.tag()) {
            head {
                (head(labels.title))
                @if !state.over { noscript { meta http-equiv="refresh" content="10"; } }
            }
            body data-mark=(state.mark) data-over=(u8::from(state.over)) data-connected=(labels.connected)
                data-lost=(labels.lost) data-as-of={ (labels.as_of) " {time}" } data-zone=(view.zone)
                data-state={ (path) "/state?lang=" (view.language) }
                data-stream={ (path) "/stream?lang=" (view.language) } {
                header {
                    span { (labels.ticket) " " (view.number) }
                    a.lang href={ (path) "?lang=" (other) } lang=(other.tag()) hreflang=(other.tag()) { (switch(other)) }
                }
                main {
                    h1 #headline aria-live="polite" { (state.headline) }
                    p #seen { (labels.as_of) " " (view.as_of) }
                    div #live { (PreEscaped(&state.html)) }
                }
                footer { @if !state.over { noscript { p { (labels.no_script) } } } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    markup.into_string()
}

fn switch(language: Language) -> &'static str {
    match language {
        Language::En => "English",
        Language::Zh => "中文",
    }
}

fn head(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width,initial-scale=1";
        meta name="robots" content="noindex,nofollow";
        meta name="referrer" content="no-referrer";
        title { (title) }
        style { (PreEscaped(STYLE)) }
    }
}

/// The part that changes.
fn live(view: &View<'_>) -> Markup {
    let labels = words::labels(view.language);
    let story = view.story;
    html! {
        @if story.waiting_inside { p.card.call { (call(view.language, view.emergency_number)) } }
        @if view.inside && !story.waiting_inside && !story.over {
            p.card.call { (still_inside(view.language, view.emergency_number)) }
        }
        @if !story.next.is_empty() {
            section {
                h2 { (labels.intended) }
                ul.next { @for line in &story.next { li { (line) } } }
            }
        }
        @if view.inside && !story.over { (tell_us(labels, view)) }
        @if !story.lines.is_empty() {
            section {
                h2 { (labels.happened) }
                ol.facts {
                    @for line in story.lines.iter().rev() {
                        li { time datetime=(line.at) { (line.clock) } (line.text) }
                    }
                }
            }
        }
        @if story.waiting_inside {
            section {
                h2 { (labels.advice_title) }
                ul { @for advice in labels.advice { li { (advice) } } }
            }
        }
        (place(labels, view))
    }
}

fn place(labels: &Labels, view: &View<'_>) -> Markup {
    html! {
        section.card {
            h2 { @if view.story.over { (labels.where_over) } @else { (labels.where_title) } }
            p { strong { (view.place.name) } }
            @if let Some(plate) = view.place.plate { p { (labels.plate) " " strong { (plate) } } }
            @if !view.place.name.starts_with(view.place.site) { p { (view.place.site) } }
            p { (view.place.address) }
        }
    }
}

fn tell_us(labels: &Labels, view: &View<'_>) -> Markup {
    let action = format!("/c/{}/say?lang={}", view.token, view.language);
    html! {
        section {
            h2 { (labels.tell_us) }
            div.tell {
                form method="post" action=(action) {
                    input type="hidden" name="what" value="help";
                    button.help { (labels.help) }
                }
                form method="post" action=(action) {
                    input type="hidden" name="what" value="out";
                    button { (labels.out) }
                }
            }
        }
    }
}

fn telephone(number: Option<&str>, text: &str) -> Markup {
    html! { @if let Some(number) = number { a href={ "tel:" (number) } { (text) } } @else { (text) } }
}

fn call(language: Language, number: Option<&str>) -> Markup {
    let (lead, whom) = words::emergency(language, number);
    html! { (lead) (telephone(number, &whom)) (stop(language)) }
}

fn still_inside(language: Language, number: Option<&str>) -> Markup {
    let (_, whom) = words::emergency(language, number);
    html! { (words::labels(language).still_inside) (telephone(number, &whom)) (stop(language)) }
}

fn stop(language: Language) -> &'static str {
    match language {
        Language::En => ".",
        Language::Zh => "。",
    }
}

/// A page that says one thing in one language, with a way back.
pub(super) fn notice(language: Language, text: &str, back: &str) -> String {
    let labels = words::labels(language);
    let markup = html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head { (head(labels.title)) }
            body { main { h1 { (text) } p { a href=(back) { (labels.back) } } } }
        }
    };
    markup.into_string()
}

/// A page for somebody of whom nothing is known, in both languages.
pub(super) fn stranger(emergency_number: Option<&str>, what: Stranger) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang=(Language::En.tag()) {
            head {
                (head("Liftline"))
                @if what == Stranger::Away { meta http-equiv="refresh" content="10"; }
            }
            body {
                main {
                    @for language in Language::ALL {
                        @let labels = words::labels(language);
                        @let (title, text) = match what {
                            Stranger::Gone => (labels.gone_title, labels.gone),
                            Stranger::Away => (labels.away_title, labels.away),
                        };
                        section lang=(language.tag()) {
                            h1 { (title) }
                            p {
                                (text) (telephone(emergency_number, &words::emergency(language, emergency_number).1))
                                (stop(language))
                            }
                        }
                    }
                }
            }
        }
    };
    markup.into_string()
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stranger {
    /// The link is unknown or has expired.
    Gone,
    /// The hub cannot look it up at the moment.
    Away,
}
