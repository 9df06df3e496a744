//! How the list of settings becomes code and data.

use super::Source;

/// The names of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// The registry value, such as `TimeoutMs`. The other names are made from it.
    pub registry: &'static str,
}

impl Name {
    /// The environment variable, such as `MPR_OTEL_TIMEOUT_MS`.
    pub fn variable(self) -> String {
        let mut variable = "MPR_OTEL".to_owned();
        for letter in self.registry.chars() {
            if letter.is_ascii_uppercase() {
                variable.push('_');
            }
            variable.push(letter.to_ascii_uppercase());
        }
        variable
    }
}

/// What a person has to know about one setting. The texts are Markdown.
#[derive(Debug)]
pub struct Row {
    /// Its names.
    pub name: Name,
    /// Whether the environment can never set it.
    pub of_registry_alone: bool,
    /// Whether Windows does not use it, so that nobody is offered it there.
    pub not_on_windows: bool,
    /// OpenTelemetry's variables that are its fourth source, highest first.
    pub otel: &'static [&'static str],
    /// The placeholder for the value in a command's help.
    pub value: &'static str,
    /// Which values can be written.
    pub form: Form,
    /// The value if no source has one. Empty means no value.
    pub default: fn() -> String,
    /// Whether only administrators and the agent may read the value: see
    /// [`Lookup::secret`](super::Lookup::secret).
    pub secret: bool,
    /// What it does, in whole sentences.
    pub about: &'static str,
}

impl Row {
    /// The flag of `mpr-otel install`, such as `timeout-ms`. Every user can see a command line, so
    /// the flag of a secret names a file.
    pub fn flag(&self) -> String {
        let variable = self.name.variable().to_ascii_lowercase();
        let flag = variable.trim_start_matches("mpr_otel_").replace('_', "-");
        flag + if self.secret { "-file" } else { "" }
    }
}

/// The form of a setting's value, for programs that let a person choose one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 0 or 1.
    Switch,
    /// A whole number from the first to the last.
    Number(u32, u32),
    /// One of these.
    Choice(&'static [&'static str]),
    /// One of these, or a text of another kind.
    ChoiceOrText(&'static [&'static str]),
    /// Texts between commas.
    List,
    /// Any text.
    Text,
}

/// What a setting's parser has to know besides the text.
pub(super) struct Context {
    pub(super) source: Source,
    /// The setting AllowInsecure.
    pub(super) allow_insecure: bool,
}

/// How one setting is resolved. It is apart from [`Row`], so that the DLL contains no texts.
pub(super) struct Setting<T> {
    pub(super) name: Name,
    pub(super) of_registry_alone: bool,
    pub(super) otel: &'static [&'static str],
    /// OpenTelemetry's variables count only if the endpoint, too, is OpenTelemetry's or the default.
    /// Such a setting comes after the endpoint in the list.
    pub(super) of_endpoint: bool,
    /// See [`Row::secret`]. Such a setting, too, comes after the endpoint in the list.
    pub(super) secret: bool,
    pub(super) default: fn() -> T,
    pub(super) parse: fn(&str, &Context) -> Result<T, String>,
    /// The value as text. A secret's is masked.
    pub(super) show: fn(&T) -> String,
}

/// Makes [`Settings`](super::Settings) and [`ALL`](super::ALL) from the settings.
///
/// The comment above each setting says what it does. It is the field's documentation, and the text in every page and
/// every help. A setting has these columns, in this order:
///
/// - `registry`: the registry value, in camel case
/// - `of_registry_alone`, if it is true: see [`Row::of_registry_alone`]
/// - `not_on_windows`, if it is true: see [`Row::not_on_windows`]
/// - `otel`, if there are any: see [`Row::otel`]
/// - `of_endpoint`, if it is true: see [`Setting::of_endpoint`]
/// - `value`: see [`Row::value`]
/// - `form`: see [`Row::form`]; without it, [`Form::Text`]
/// - `default`
/// - `default_text`, if the text for the default is not a value that a person could write
/// - `parse`
/// - `show`, or for a [secret](Row::secret) `mask`: the value as text, of a secret no more than its
///   names
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        $field:ident: $type:ty {
            registry: $registry:expr,
            $(of_registry_alone: $of_registry_alone:literal,)?
            $(not_on_windows: $not_on_windows:literal,)?
            $(otel: [$($otel:literal),+],)?
            $(of_endpoint: $of_endpoint:literal,)?
            value: $value:literal,
            $(form: $form:expr,)?
            default: $default:expr,
            $(default_text: $default_text:literal,)?
            parse: $parse:expr,
            $show:ident: $text:expr,
        }
    )+) => {
        /// Every setting of this process.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            $(
                $(#[doc = $about])+
                pub $field: $type,
            )+
            /// The registry key that could not be read. Then the process is [`disabled`](Self::disabled).
            pub unreadable: Option<RegistryError>,
            /// The agent's registry key, if this process wants secrets and may not read the key. Then it
            /// has none.
            pub withheld: Option<RegistryError>,
        }

        impl Settings {
            /// Every setting as it is resolved by itself.
            pub(super) fn each(from: &mut Resolver<'_>) -> Self {
                Self {
                    $($field: from.setting(&Setting::<$type> {
                        name: Name { registry: $registry },
                        of_registry_alone: settings!(@first $($of_registry_alone)? false),
                        otel: &[$($($otel),+)?],
                        of_endpoint: settings!(@first $($of_endpoint)? false),
                        secret: settings!(@secret $show),
                        default: || $default,
                        parse: $parse,
                        show: $text,
                    }),)+
                    unreadable: from.unreadable(),
                    withheld: from.withheld(),
                }
            }
        }

        /// Every setting, in the order of the documentation.
        pub const ALL: &[Row] = &[$(Row {
            name: Name { registry: $registry },
            of_registry_alone: settings!(@first $($of_registry_alone)? false),
            not_on_windows: settings!(@first $($not_on_windows)? false),
            otel: &[$($($otel),+)?],
            value: $value,
            form: settings!(@first $({ $form })? { Form::Text }),
            default: || {
                settings!(@first $({ $default_text.to_owned() })? { code::<$type>($text, &$default) })
            },
            secret: settings!(@secret $show),
            about: concat!($($about),+).trim_ascii(),
        }),+];
    };
    (@first $first:tt $($rest:tt)?) => { $first };
    (@secret show) => { false };
    (@secret mask) => { true };
}

pub(super) use settings;

/// A value in Markdown.
pub(super) fn code<T>(show: fn(&T) -> String, value: &T) -> String {
    match show(value) {
        empty if empty.is_empty() => empty,
        text => format!("`{text}`"),
    }
}
