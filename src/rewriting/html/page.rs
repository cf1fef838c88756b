//! Which elements of a page lead somewhere, and what is done with each.

use super::super::links::{Base, Links};
use super::super::splice::Splices;
use super::attribute::Value;
use super::tape::Tape;
use lol_html::Selector;
use lol_html::send::{Element, ElementContentHandlers, Settings};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

/// Forms of one page that get a field: the parser keeps something for each.
const MAX_FIELDS: usize = 1024;

/// What is known of a page so far; the handlers of one parser share it.
#[derive(Debug)]
pub(super) struct Page {
    links: Arc<Links>,
    tape: Arc<Mutex<Tape>>,
    base: Base,
    /// Whether a button of the open form submits to another site.
    foreign_button: bool,
    /// Whether a button did that which names its form, so that any form can be meant.
    foreign_anywhere: bool,
    /// Forms that may still get a field.
    fields: usize,
}

/// What a handler does with an element.
type Visit = fn(&mut Page, &mut Element<'_, '_>, &Arc<Mutex<Page>>);

/// The elements, and what is done with them.
static VISITS: LazyLock<Vec<(Option<Selector>, Visit)>> = LazyLock::new(|| {
    let visits: [(&str, Visit); 6] = [
        ("a[href], area[href]", |page, element, _| page.link(element, "href")),
        ("iframe[src], frame[src]", |page, element, _| page.link(element, "src")),
        ("button[formaction], input[formaction]", |page, element, _| page.button(element)),
        ("form", Page::form),
        ("meta[http-equiv=refresh i][content]", |page, element, _| page.refresh(element)),
        ("base[href]", |page, element, _| page.base(element)),
    ];
    visits.map(|(selector, visit)| (selector.parse().ok(), visit)).into()
});

/// An attribute as it stands in the page.
struct Attribute {
    value: String,
    at: Range<usize>,
}

impl Page {
    pub(super) fn new(links: Arc<Links>, tape: Arc<Mutex<Tape>>) -> Self {
        let base = links.base().clone();
        Self {
            links,
            tape,
            base,
            foreign_button: false,
            foreign_anywhere: false,
            fields: MAX_FIELDS,
        }
    }

    /// The handlers of a parser.
    pub(super) fn settings(self) -> Option<Settings<'static, 'static>> {
        let page = Arc::new(Mutex::new(self));
        let mut settings = Settings::new_send();
        for (selector, visit) in VISITS.iter() {
            let page = Arc::clone(&page);
            let handler = move |element: &mut Element<'_, '_>| {
                visit(&mut page.lock(), element, &page);
                Ok(())
            };
            let handlers = ElementContentHandlers::default().element(handler);
            let selector = Cow::Borrowed(selector.as_ref()?);
            settings = settings.append_element_content_handler((selector, handlers));
        }
        Some(settings)
    }

    /// An attribute that is a link.
    fn link(&mut self, element: &Element<'_, '_>, name: &str) {
        if let Some(attribute) = attribute(element, name) {
            self.rewrite(attribute, Links::splices);
        }
    }

    fn refresh(&mut self, element: &Element<'_, '_>) {
        if let Some(attribute) = attribute(element, "content") {
            self.rewrite(attribute, Links::refresh);
        }
    }

    fn base(&mut self, element: &Element<'_, '_>) {
        let value = attribute(element, "href").and_then(|found| Value::of(found.value));
        self.links.rebase(&mut self.base, value.as_ref().map(|value| value.text.as_str()));
    }

    /// A button that submits its form elsewhere.
    fn button(&mut self, element: &Element<'_, '_>) {
        let Some(found) = attribute(element, "formaction") else { return };
        if !found.value.is_empty() && !self.stays(&found.value) {
            self.foreign_button = true;
            self.foreign_anywhere |= element.has_attribute("form");
        }
        self.rewrite(found, Links::splices);
    }

    /// A form. One without `action` submits to the page's own URL, which the browser keeps. GET
    /// drops the query of the URL, so there the key goes into a field: at the end of the form, when
    /// its buttons are known, since a field is sent wherever one of them leads.
    fn form(&mut self, element: &mut Element<'_, '_>, page: &Arc<Mutex<Self>>) {
        let method = element.get_attribute("method").unwrap_or_default();
        let is = |name: &str| method.eq_ignore_ascii_case(name);
        if is("dialog") {
            return;
        }
        self.foreign_button = false;
        let action = attribute(element, "action").filter(|action| !action.value.is_empty());
        let Some(field) = self.links.field().filter(|_| !is("post")) else {
            if let Some(action) = action {
                self.rewrite(action, Links::splices);
            }
            return;
        };
        if self.fields == 0 || action.is_some_and(|action| !self.stays(&action.value)) {
            return;
        }
        self.fields -= 1;
        if let Some(handlers) = element.end_tag_handlers() {
            let page = Arc::clone(page);
            handlers.push(Box::new(move |end| {
                page.lock().end_form(end.source_location().bytes().start, field);
                Ok(())
            }));
        }
    }

    /// Puts the field in front of the tag that ends a form.
    fn end_form(&mut self, at: usize, field: String) {
        if !self.foreign_button && !self.foreign_anywhere {
            self.tape.lock().change(at..at, field);
        }
    }

    /// Whether a value surely leads to this site, be it the page itself.
    fn stays(&self, value: &str) -> bool {
        let value = Value::of(value.to_owned());
        value.is_some_and(|value| self.links.stays(&value.text, &self.base))
    }

    fn rewrite(
        &mut self,
        attribute: Attribute,
        splices: impl Fn(&Links, &str, &Base) -> Option<Splices>,
    ) {
        let start = attribute.at.start;
        let Some(value) = Value::of(attribute.value) else { return };
        let Some(splices) = splices(&self.links, &value.text, &self.base) else { return };
        let mut tape = self.tape.lock();
        value.changes(splices, |at, text| tape.change(start + at.start..start + at.end, text));
    }
}

/// The first attribute of that name, which is the one that counts; `None` when it has no value.
fn attribute(element: &Element<'_, '_>, name: &str) -> Option<Attribute> {
    let found = element.attributes().iter().find(|attribute| {
        // a look at the length spares a copy of the name
        let length = attribute.name_source_location().map_or(0, |at| at.bytes().len());
        length == name.len() && attribute.name() == name
    })?;
    Some(Attribute { at: found.value_source_location()?.bytes(), value: found.value() })
}
