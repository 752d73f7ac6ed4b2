//! Macros for JSON readers that take any value without failing.

/// Generates the visitor methods for the kinds of value that are only ever described.
macro_rules! visit_rest {
    ($self:ident, $kind:ident => $body:expr; $($method:ident)*) => {$(visit_rest!(@ $method $self, $kind => $body);)*};
    (@ bool $self:ident, $kind:ident => $body:expr) => {
        fn visit_bool<E: Error>($self, flag: bool) -> Result<Self::Value, E> { let $kind = flag.to_string(); Ok($body) }
    };
    (@ number $self:ident, $kind:ident => $body:expr) => {
        fn visit_u64<E: Error>($self, n: u64) -> Result<Self::Value, E> { let $kind = format!("the number {n}"); Ok($body) }
        fn visit_i64<E: Error>($self, n: i64) -> Result<Self::Value, E> { let $kind = format!("the number {n}"); Ok($body) }
        fn visit_f64<E: Error>($self, n: f64) -> Result<Self::Value, E> { let $kind = format!("the number {n}"); Ok($body) }
    };
    (@ text $self:ident, $kind:ident => $body:expr) => {
        fn visit_str<E: Error>($self, text: &str) -> Result<Self::Value, E> {
            let $kind = format!("the text \"{}\"", quote(text));
            Ok($body)
        }
    };
    (@ null $self:ident, $kind:ident => $body:expr) => {
        fn visit_unit<E: Error>($self) -> Result<Self::Value, E> { let $kind = "null".to_owned(); Ok($body) }
    };
    (@ list $self:ident, $kind:ident => $body:expr) => {
        fn visit_seq<A: SeqAccess<'de>>($self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            let $kind = "a list".to_owned();
            Ok($body)
        }
    };
    (@ object $self:ident, $kind:ident => $body:expr) => {
        fn visit_map<A: MapAccess<'de>>($self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            let $kind = "an object".to_owned();
            Ok($body)
        }
    };
}

/// A seed that accepts any JSON value through its own visitor.
macro_rules! any_seed {
    ($seed:ty => $value:ty) => {
        impl<'de> DeserializeSeed<'de> for $seed {
            type Value = $value;
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                deserializer.deserialize_any(self)
            }
        }
    };
}
