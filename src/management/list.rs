//! Lists: sorted, filtered by name, cut into pages, and cut down to columns, whatever they list.
//!
//! A row is anything with named fields ([`Row`]). What is not asked for is not made: without `columns` a row is written
//! once, field by field; with `page` only the rows of the page are written; sorting looks at the fields it sorts by. That
//! is what makes a list of ten thousand queues cheap. Source: RabbitMQ's management plugin, its texts included.

use std::cmp::Ordering;

use fancy_regex::{Regex, RegexBuilder};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::answer::{Answer, ApiError, Outcome};
use super::query::Query;

/// Rows of a page unless the query says otherwise.
const PAGE_SIZE: usize = 100;

/// Most rows of a page.
const PAGE_SIZE_MAX: i64 = 500;

/// Longest regular expression that names are filtered by, in octets.
const REGEX_MAX: usize = 1024;

/// Memory a compiled filter may take, in octets.
const REGEX_MEMORY: usize = 1 << 20;

/// Steps that a filter with look-around may take for one name; then it does not match.
const REGEX_STEPS: usize = 10_000;

/// Deepest field that a column may name.
const COLUMN_DEPTH: usize = 8;

/// Something with named fields.
pub(super) trait Row {
    /// The value of one field; `None` if the row has none of that name.
    fn field(&self, name: &str) -> Option<Value>;

    /// Shows every field of the row, in order.
    fn each(&self, show: &mut dyn FnMut(&str, Value));
}

/// A field of a row: its name, and how to read it.
pub(super) type Field<R> = (&'static str, fn(&R) -> Option<Value>);

/// A type whose fields stand in a table.
pub(super) trait Fields: Sized + 'static {
    /// The fields, in the order in which they are written.
    const FIELDS: &'static [Field<Self>];
}

impl<T: Fields> Row for T {
    fn field(&self, name: &str) -> Option<Value> {
        T::FIELDS.iter().find(|(known, _)| *known == name).and_then(|(_, read)| read(self))
    }

    fn each(&self, show: &mut dyn FnMut(&str, Value)) {
        for (name, read) in T::FIELDS {
            if let Some(value) = read(self) {
                show(name, value);
            }
        }
    }
}

impl Row for Map<String, Value> {
    fn field(&self, name: &str) -> Option<Value> {
        self.get(name).cloned()
    }

    fn each(&self, show: &mut dyn FnMut(&str, Value)) {
        for (name, value) in self {
            show(name, value.clone());
        }
    }
}

/// Any JSON object; other values have no fields.
impl Row for Value {
    fn field(&self, name: &str) -> Option<Value> {
        self.get(name).cloned()
    }

    fn each(&self, show: &mut dyn FnMut(&str, Value)) {
        if let Self::Object(map) = self {
            map.each(show);
        }
    }
}

/// The fields that are asked for: a tree of names, where a leaf is a whole field.
#[derive(Debug, Default)]
pub(super) struct Columns(Option<Vec<(String, Columns)>>);

impl Columns {
    /// Reads `columns=a,b.c`.
    pub(super) fn of(query: &Query) -> Self {
        let Some(text) = query.get("columns") else { return Self(None) };
        let mut root = Self(Some(Vec::new()));
        for column in text.split(',').filter(|column| !column.is_empty()) {
            root.add(column.split('.').filter(|part| !part.is_empty()).take(COLUMN_DEPTH));
        }
        root
    }

    fn add<'a>(&mut self, mut path: impl Iterator<Item = &'a str>) {
        let Some(first) = path.next() else {
            self.0 = None;
            return;
        };
        let Some(known) = &mut self.0 else { return };
        if let Some((_, below)) = known.iter_mut().find(|(name, _)| name == first) {
            below.add(path);
            return;
        }
        let mut below = Self(Some(Vec::new()));
        below.add(path);
        known.push((first.to_owned(), below));
    }

    /// What is wanted of a field; `None` is nothing.
    fn of_field(&self, name: &str) -> Option<&Self> {
        match &self.0 {
            None => Some(self),
            Some(known) => known.iter().find(|(wanted, _)| wanted == name).map(|(_, below)| below),
        }
    }

    /// What is wanted of a value.
    fn keep(&self, value: Value) -> Value {
        match (&self.0, value) {
            (Some(_), Value::Object(map)) => map
                .into_iter()
                .filter_map(|(name, value)| self.of_field(&name).map(|below| (name, below.keep(value))))
                .collect(),
            (Some(_), Value::Array(values)) => values.into_iter().map(|value| self.keep(value)).collect(),
            (_, value) => value,
        }
    }
}

/// A row with the columns that are wanted of it.
struct Shown<'a, R>(&'a R, &'a Columns);

impl<R: Row> Serialize for Shown<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut result = Ok(());
        match &self.1.0 {
            None => self.0.each(&mut |name, value| {
                if result.is_ok() {
                    result = map.serialize_entry(name, &value);
                }
            }),
            Some(wanted) => {
                for (name, below) in wanted {
                    if let Some(value) = self.0.field(name) {
                        map.serialize_entry(name, &below.keep(value))?;
                    }
                }
            }
        }
        result?;
        map.end()
    }
}

/// Rows with the columns that are wanted of them.
struct ShownRows<'a, R>(&'a [R], &'a Columns);

impl<R: Row> Serialize for ShownRows<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|row| Shown(row, self.1)))
    }
}

/// One page of a list.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    number: usize,
    size: usize,
}

/// What names have to match.
#[derive(Debug)]
enum Filter {
    Any,
    /// Contains this text, in lower case.
    Contains(String),
    Matches(Box<Regex>),
    /// The expression is none.
    Nothing,
}

impl Filter {
    fn of(query: &Query) -> Result<Self, ApiError> {
        let (Some(name), regex) = (query.get("name").filter(|name| !name.is_empty()), query.is_true("use_regex"))
        else {
            return Ok(Self::Any);
        };
        if !regex {
            return Ok(Self::Contains(name.to_lowercase()));
        }
        if name.len() > REGEX_MAX {
            return Err(ApiError::bad("invalid_pagination_parameters", "name filter regex is too long"));
        }
        let mut builder = RegexBuilder::new(name);
        builder.case_insensitive(true).backtrack_limit(REGEX_STEPS).delegate_size_limit(REGEX_MEMORY);
        Ok(builder.build().map_or(Self::Nothing, |regex| Self::Matches(Box::new(regex))))
    }

    fn takes(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Contains(part) => name.to_lowercase().contains(part),
            // An expression that takes too many steps matches nothing, as in RabbitMQ.
            Self::Matches(regex) => regex.is_match(name).unwrap_or(false),
            Self::Nothing => false,
        }
    }
}

/// Reads the page that is asked for.
fn page(query: &Query) -> Result<Option<Page>, ApiError> {
    let unreadable = |_| ApiError::bad("bad_request", "Pagination parameters are invalid");
    let number = query.number("page").map_err(unreadable)?;
    let size = query.number("page_size").map_err(unreadable)?;
    let Some(number) = number else { return Ok(None) };
    let taken = usize::try_from(number).ok().filter(|number| *number > 0);
    let rows = match size {
        None => Some(PAGE_SIZE),
        Some(size) => usize::try_from(size).ok().filter(|_| (1..=PAGE_SIZE_MAX).contains(&size)),
    };
    if let (Some(number), Some(size)) = (taken, rows) {
        return Ok(Some(Page { number, size }));
    }
    let size = size.map_or_else(|| "undefined".to_owned(), |size| size.to_string());
    let reason = format!("Invalid pagination parameters: page number {number}, page size {size}");
    Err(ApiError::bad("invalid_pagination_parameters", reason))
}

/// The order of Erlang's terms, as far as JSON has them: numbers, atoms, objects, lists, text.
fn compare(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::Bool(_) | Value::Null => 1,
        Value::Object(_) => 2,
        Value::Array(_) => 3,
        Value::String(_) => 4,
    };
    let atom = |value: &Value| match value {
        Value::Bool(false) => 0,
        Value::Bool(true) => 2,
        _ => 1,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let first = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)).then_with(|| atom(a).cmp(&atom(b))),
    }
}

/// The value at a dotted path; what is not there comes before everything else.
fn at_path(row: &impl Row, path: &str) -> Value {
    let mut parts = path.split('.').filter(|part| !part.is_empty());
    let mut value = parts.next().and_then(|first| row.field(first));
    for part in parts {
        value = value.and_then(|value| value.get(part).cloned());
    }
    value.unwrap_or_else(|| 0.into())
}

/// Sorts rows by what the query asks for, then by `order`.
fn sort<R: Row>(rows: &mut Vec<R>, query: &Query, order: &[&str]) {
    let asked = query.get("sort").filter(|field| !field.is_empty());
    let fields: Vec<&str> = asked.into_iter().chain(order.iter().copied()).collect();
    let mut keyed: Vec<(Vec<Value>, R)> =
        rows.drain(..).map(|row| (fields.iter().map(|field| at_path(&row, field)).collect(), row)).collect();
    keyed.sort_by(|(a, _), (b, _)| {
        a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    rows.extend(keyed.into_iter().map(|(_, row)| row));
    if query.is_true("sort_reverse") {
        rows.reverse();
    }
}

/// Answers with all rows, sorted.
pub(super) fn all<R: Row>(mut rows: Vec<R>, query: &Query, order: &[&str]) -> Outcome {
    sort(&mut rows, query, order);
    Ok(Answer::json(&ShownRows(&rows, &Columns::of(query))))
}

/// Answers with the page that is asked for, or with all rows.
pub(super) fn pages<R: Row>(mut rows: Vec<R>, query: &Query, order: &[&str]) -> Outcome {
    let Some(page) = page(query)? else { return all(rows, query, order) };
    let filter = Filter::of(query)?;
    sort(&mut rows, query, order);
    let total = rows.len();
    if !matches!(filter, Filter::Any) {
        rows.retain(|row| row.field("name").as_ref().and_then(Value::as_str).is_some_and(|name| filter.takes(name)));
    }
    let filtered = rows.len();
    let first = page.number.saturating_sub(1).saturating_mul(page.size);
    let Some(rest) = rows.get(first..) else {
        let reason = format!("Page out of range, page: {} page size: {}, len: {filtered}", page.number, page.size);
        return Err(ApiError::bad("page_out_of_range", reason));
    };
    let items = rest.get(..page.size).unwrap_or(rest);
    let columns = Columns::of(query);
    Ok(Answer::json(&Paged {
        total_count: total,
        item_count: items.len(),
        filtered_count: filtered,
        page: page.number,
        page_size: page.size,
        page_count: filtered.div_ceil(page.size),
        items: ShownRows(items, &columns),
    }))
}

/// A whole row as JSON, to stand within another.
pub(super) fn whole(row: &impl Row) -> Value {
    let mut map = Map::new();
    row.each(&mut |name, value| {
        map.insert(name.to_owned(), value);
    });
    Value::Object(map)
}

/// Answers with one object, cut down to the columns that are asked for.
pub(super) fn one(row: &impl Row, query: &Query) -> Outcome {
    Ok(Answer::json(&Shown(row, &Columns::of(query))))
}

#[derive(Serialize)]
#[serde(bound(serialize = "R: Row"))]
struct Paged<'a, R: Row> {
    total_count: usize,
    item_count: usize,
    filtered_count: usize,
    page: usize,
    page_size: usize,
    page_count: usize,
    items: ShownRows<'a, R>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(n: usize) -> Vec<Value> {
        (0..n).map(|n| json!({"name": format!("q{n}"), "n": n, "stats": {"rate": {"now": n % 3}}})).collect()
    }

    fn asked(query: &str, rows: Vec<Value>) -> Result<Value, ApiError> {
        pages(rows, &Query::parse(query), &["vhost", "name"]).map(|answer| {
            let body = answer.into_response().into_body();
            let bytes = futures_lite::future::block_on(axum::body::to_bytes(body, usize::MAX)).unwrap();
            serde_json::from_slice(&bytes).unwrap()
        })
    }

    fn names(answer: &Value) -> Vec<&str> {
        answer.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn without_a_page_the_answer_is_the_whole_list_by_name() {
        let answer = asked("name=q1", rows(3)).unwrap();
        assert_eq!(names(&answer), ["q0", "q1", "q2"], "names are filtered in pages only");
    }

    #[test]
    fn pages_tell_where_they_are() {
        let answer = asked("page=2&page_size=2&name=Q1&columns=name", rows(13)).unwrap();
        let expected = json!({
            "total_count": 13, "item_count": 2, "filtered_count": 4, "page": 2, "page_size": 2, "page_count": 2,
            "items": [{"name": "q11"}, {"name": "q12"}],
        });
        assert_eq!(answer, expected);
        assert_eq!(asked("page=1", Vec::new()).unwrap()["page_count"], 0);
    }

    #[test]
    fn names_may_be_matched_with_an_expression_however_it_is_written() {
        let found = |query: &str| asked(query, rows(30)).unwrap()["filtered_count"].as_u64().unwrap();
        assert_eq!(found("page=1&use_regex=true&name=^Q1[0-2]"), 3);
        assert_eq!(found("page=1&use_regex=true&name=^(?!q1).*"), 19);
        assert_eq!(found("page=1&use_regex=true&name=["), 0);
        assert_eq!(found("page=1&name=^q1"), 0, "plain text is no expression");
        let evil = vec![json!({"name": "a".repeat(5_000)})];
        let answer = asked("page=1&use_regex=true&name=^(?=(a%2B)%2B$)(a%2B)%2Bb", evil).unwrap();
        assert_eq!(answer["filtered_count"], 0);
    }

    #[test]
    fn pages_that_cannot_be_are_refused_in_rabbitmqs_words() {
        let refused = |query: &str| asked(query, rows(1)).unwrap_err();
        for query in ["page=x", "page=1&page_size=ten", "page_size=a"] {
            assert_eq!(refused(query), ApiError::bad("bad_request", "Pagination parameters are invalid"), "{query}");
        }
        let reason = "Page out of range, page: 9 page size: 100, len: 1";
        assert_eq!(refused("page=9"), ApiError::bad("page_out_of_range", reason));
        for (query, number, size) in
            [("page=0", "0", "undefined"), ("page=1&page_size=501", "1", "501"), ("page=-1&page_size=0", "-1", "0")]
        {
            let reason = format!("Invalid pagination parameters: page number {number}, page size {size}");
            assert_eq!(refused(query), ApiError::bad("invalid_pagination_parameters", reason), "{query}");
        }
        let long = format!("page=1&use_regex=true&name={}", "a".repeat(1025));
        assert_eq!(refused(&long), ApiError::bad("invalid_pagination_parameters", "name filter regex is too long"));
    }

    #[test]
    fn any_field_can_be_sorted_by_and_what_is_missing_comes_first() {
        let answer = asked("sort=n&sort_reverse=true", rows(12)).unwrap();
        assert_eq!(names(&answer)[..2], ["q11", "q10"]);
        let answer = asked("sort=stats.rate.now", rows(5)).unwrap();
        assert_eq!(names(&answer), ["q0", "q3", "q1", "q4", "q2"]);
        let mixed = vec![
            json!({"name": "b", "n": "text"}),
            json!({"name": "a", "n": 1}),
            json!({"name": "c"}),
            json!({"name": "d", "n": null}),
        ];
        assert_eq!(names(&asked("sort=n", mixed).unwrap()), ["c", "a", "d", "b"]);
    }

    #[test]
    fn columns_reach_into_objects_and_lists() {
        let row = json!({"name": "a", "stats": {"rate": 1, "sum": 2}, "of": [{"k": 1, "l": 2}], "z": 1});
        let answer = asked("columns=name,stats.rate,of.k,none,name.deeper", vec![row]).unwrap();
        assert_eq!(answer, json!([{"name": "a", "stats": {"rate": 1}, "of": [{"k": 1}]}]));
    }

    struct Typed(u32);

    impl Fields for Typed {
        const FIELDS: &'static [Field<Self>] =
            &[("name", |row| Some(row.0.to_string().into())), ("odd", |row| (row.0 % 2 == 1).then(|| true.into()))];
    }

    #[test]
    fn a_type_with_a_table_of_fields_is_a_row() {
        let answer = all(vec![Typed(2), Typed(1)], &Query::default(), &["name"]).unwrap();
        let body = futures_lite::future::block_on(axum::body::to_bytes(answer.into_response().into_body(), 1000));
        assert_eq!(body.unwrap(), r#"[{"name":"1","odd":true},{"name":"2"}]"#);
    }
}
