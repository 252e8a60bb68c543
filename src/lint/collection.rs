//! Objects out of files, and finding them by kind, namespace, name and nearness.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{File, Outcome, Unjudged, namespace_of};
use crate::manifest::{self, Document};

/// An object, and where it was written.
#[derive(Debug)]
pub(super) struct Object {
    /// Which file.
    pub(super) file: usize,
    /// Its directory, as far as its name says.
    pub(super) directory: String,
    /// Which of [`Collection::documents`].
    pub(super) document: usize,
    /// Which document of its file, from 1.
    pub(super) number: usize,
    /// Which item, when the document is a List.
    pub(super) item: Option<usize>,
    /// The object.
    pub(super) value: Arc<Value>,
}

impl Object {
    /// A top-level text; empty when it is absent.
    pub(super) fn text(&self, key: &str) -> &str {
        self.value[key].as_str().unwrap_or_default()
    }
}

/// The objects of all files.
#[derive(Debug, Default)]
pub(super) struct Collection {
    pub(super) objects: Vec<Object>,
    pub(super) documents: Vec<Document>,
    /// Objects by kind and namespace.
    kinds: BTreeMap<(String, String), Vec<usize>>,
    /// Objects by directory, kind and namespace, without those defined there in several ways.
    directories: BTreeMap<(String, String, String), Vec<usize>>,
}

impl Collection {
    /// Reads every document of every file; what cannot be read goes to the outcome.
    pub(super) fn read(files: &[File], outcome: &mut Outcome) -> Self {
        let mut collection = Self::default();
        for (index, file) in files.iter().enumerate() {
            let mut unjudged = Vec::new();
            collection.read_file(index, file, &mut unjudged);
            if unjudged.is_empty()
                || file.named
                || file.text.contains("flagger.app")
                || file.text.contains("verdigris.dev")
            {
                outcome.unjudged.append(&mut unjudged);
            } else {
                outcome.passed_over += 1;
            }
        }
        for (index, object) in collection.objects.iter().enumerate() {
            let key = (
                object.text("kind").to_owned(),
                namespace_of(&object.value).to_owned(),
            );
            collection.kinds.entry(key).or_default().push(index);
        }
        collection.directories = unambiguous(&collection.objects);
        collection
    }

    fn read_file(&mut self, index: usize, file: &File, unjudged: &mut Vec<Unjudged>) {
        if let Some(at) = helm_action(&file.text) {
            unjudged.push(Unjudged {
                file: file.name.clone(),
                place: Some(crate::model::promql::place::position(&file.text, at)),
                message: "a Helm template, which is no manifest before it is rendered; run helm template and pipe its \
                          output into verdigris lint -"
                    .to_owned(),
            });
            return;
        }
        let documents = match manifest::documents(&file.text) {
            Ok(documents) => documents,
            Err(error) => {
                unjudged.push(Unjudged::of(file, error));
                return;
            }
        };
        let directory = file.name.rsplit_once('/').map_or("", |(directory, _)| directory);
        for (number, document) in documents.into_iter().enumerate() {
            if document.root.is_none() {
                continue;
            }
            let value = match manifest::read(&file.text, document.region.clone()) {
                Ok(value) => value,
                Err(error) => {
                    unjudged.push(Unjudged::of(file, error));
                    continue;
                }
            };
            let at = self.documents.len();
            self.documents.push(document);
            for (item, value) in items(value) {
                self.objects.push(Object {
                    file: index,
                    directory: directory.to_owned(),
                    document: at,
                    number: number + 1,
                    item,
                    value: Arc::new(value),
                });
            }
        }
    }

    /// The objects of a kind and namespace.
    pub(super) fn of_kind<'a>(
        &'a self,
        kind: &str,
        namespace: &str,
    ) -> impl Iterator<Item = (usize, &'a Object)> {
        let key = (kind.to_owned(), namespace.to_owned());
        let list = self.kinds.get(&key).map_or(&[][..], Vec::as_slice);
        list.iter().map(|index| (*index, &self.objects[*index]))
    }

    /// The objects of a kind and namespace in the directory of `near`, without those defined there in several ways.
    pub(super) fn beside<'a>(
        &'a self,
        near: &Object,
        kind: &str,
        namespace: &str,
    ) -> impl Iterator<Item = (usize, &'a Object)> + use<'a> {
        let key = (near.directory.clone(), kind.to_owned(), namespace.to_owned());
        let list = self.directories.get(&key).map_or(&[][..], Vec::as_slice);
        list.iter().map(|index| (*index, &self.objects[*index]))
    }

    /// The one definition nearest to `near`: in its file, its directory, or anywhere. None when there is none, or
    /// several that differ.
    pub(super) fn nearest<'a>(
        &'a self,
        near: &Object,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Option<&'a Object> {
        let all: Vec<&Object> = self
            .of_kind(kind, namespace)
            .map(|(_, object)| object)
            .filter(|object| name_of(&object.value) == name)
            .collect();
        let in_file = |object: &&&Object| object.file == near.file;
        let in_directory = |object: &&&Object| object.directory == near.directory;
        let tiers = [
            all.iter().filter(in_file).copied().collect::<Vec<_>>(),
            all.iter().filter(in_directory).copied().collect(),
            all.clone(),
        ];
        let tier = tiers.into_iter().find(|tier| !tier.is_empty())?;
        let (first, others) = tier.split_first()?;
        others
            .iter()
            .all(|other| other.value == first.value)
            .then_some(*first)
    }
}

/// Objects by directory, kind and namespace; of those that bear one name, the first if all are the same, else none.
fn unambiguous(objects: &[Object]) -> BTreeMap<(String, String, String), Vec<usize>> {
    let mut names: BTreeMap<(&str, &str, &str, &str), Option<usize>> = BTreeMap::new();
    for (index, object) in objects.iter().enumerate() {
        let namespace = namespace_of(&object.value);
        let key = (
            object.directory.as_str(),
            object.text("kind"),
            namespace,
            name_of(&object.value),
        );
        names
            .entry(key)
            .and_modify(|known| *known = known.filter(|other| objects[*other].value == object.value))
            .or_insert(Some(index));
    }
    let mut directories: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for ((directory, kind, namespace, _), index) in names {
        let key = (directory.to_owned(), kind.to_owned(), namespace.to_owned());
        directories.entry(key).or_default().extend(index);
    }
    directories
}

pub(super) fn name_of(value: &Value) -> &str {
    value["metadata"]["name"].as_str().unwrap_or_default()
}

/// The objects of a document; a List holds several.
fn items(mut value: Value) -> Vec<(Option<usize>, Value)> {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let list = value.get_mut("items").filter(|_| is_list).map(Value::take);
    let objects = match list {
        Some(Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| (Some(index), item))
            .collect(),
        Some(_) | None => vec![(None, value)],
    };
    objects
        .into_iter()
        .filter(|(_, object): &(Option<usize>, Value)| object["kind"].is_string())
        .collect()
}

/// Where the first action of Helm stands. Actions of Flagger's own templates (`{{ target }}`) are none.
fn helm_action(text: &str) -> Option<usize> {
    const WORDS: [&str; 9] = [
        ".Values",
        ".Release",
        ".Chart",
        ".Capabilities",
        ".Files",
        "include ",
        "template ",
        "define ",
        "toYaml ",
    ];
    text.match_indices("{{").map(|(at, _)| at).find(|at| {
        let action = text[at + 2..].trim_start_matches('-').trim_start();
        let action = action.strip_prefix("$.").map_or(action, |_| &action[1..]);
        let action = ["if ", "else if ", "with ", "range "]
            .iter()
            .find_map(|word| action.strip_prefix(word))
            .unwrap_or(action)
            .trim_start();
        WORDS.iter().any(|word| action.starts_with(word))
    })
}
