//! SHELL of the storage-version migration: every object of Flagger's kinds rewritten at v1beta1, page by page.
//!
//! Owns: the order of writes (take over the definition, rewrite, trim `status.storedVersions`, drop
//! ownership at versions nobody serves, drop the versions kept for stored objects). Promises: nothing is touched when any
//! definition has an obstacle; `storedVersions` is trimmed only after every object was rewritten; it can be stopped
//! at any point and run again, since an object that is stored at v1beta1 already is not written a second time.
//! Never changes what an object says.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: talks to the API server, waits by the clock"
)]

mod plan;

use std::num::NonZeroU32;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{GroupVersionKind, PartialObjectMeta};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::api::convert::GROUP;
use crate::api::crd;
use crate::cluster::ClusterError;
use crate::install;

pub use plan::Obstacle;
use plan::{STORAGE, Survey};

/// The field manager of the definitions' status. Objects keep their owners: an empty patch owns nothing.
const FIELD_MANAGER: &str = "verdigris-migrate";
/// How often a write is tried, and a list begun, before it counts as failed.
const ATTEMPTS: u32 = 5;

/// How to migrate.
#[derive(Debug, Clone)]
pub struct Options {
    /// Objects read at once.
    pub page_size: NonZeroU32,
    /// Objects written a second, at most.
    pub rate: NonZeroU32,
    /// Read only, and say what would be done.
    pub dry_run: bool,
}

/// What happens, as it happens. Plain data for whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The cluster has no such definition, so nothing is stored.
    Absent {
        /// Name of the definition.
        definition: String,
    },
    /// A definition not of our making gets our versions; in a dry run, would get them.
    Adopted {
        /// Name of the definition.
        definition: String,
        /// What it lists in `status.storedVersions`.
        stored: Vec<String>,
    },
    /// Objects of a kind have been looked at.
    Progress {
        /// Kind of the objects.
        kind: String,
        /// How many so far.
        seen: u64,
        /// How many there are, when the API server knows.
        total: Option<u64>,
    },
    /// All objects of a kind have been looked at.
    Migrated {
        /// Kind of the objects.
        kind: String,
        /// What became of them.
        tally: Tally,
    },
    /// `status.storedVersions` names v1beta1 alone; in a dry run, would.
    Trimmed {
        /// Name of the definition.
        definition: String,
        /// What it listed before.
        stored: Vec<String>,
    },
    /// Versions kept for stored objects only are no longer listed; in a dry run, would not be.
    Retired {
        /// Name of the definition.
        definition: String,
        /// The versions.
        versions: Vec<String>,
    },
}

/// What became of the objects of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects looked at.
    pub seen: u64,
    /// Objects written, because they were stored at another version. Unknown to a dry run.
    pub rewritten: u64,
    /// Objects with owners at versions nobody serves, which were dropped.
    pub cleaned: u64,
    /// Objects deleted meanwhile by somebody else.
    pub gone: u64,
}

/// Why a migration failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// It cannot begin; nothing was touched.
    #[error("{}", list(.0))]
    Obstacles(Vec<Obstacle>),
    /// The API server refused, or could not be reached.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    /// Taking over a definition failed.
    #[error("{0}")]
    Install(#[from] install::InstallError),
    /// Objects that could not be rewritten; `status.storedVersions` was left as it is.
    #[error("{} of {kind} could not be rewritten, so status.storedVersions stays; mend them and run again:\n{}", .failures.len(), list(.failures))]
    Objects {
        /// Their kind.
        kind: String,
        /// One line each.
        failures: Vec<String>,
    },
    /// Objects whose owners could not be cleaned. All are stored at v1beta1.
    #[error(
        "{} of {kind} keep owners at versions nobody serves; mend them and run again:\n{}",
        .failures.len(),
        list(.failures)
    )]
    Owners {
        /// Their kind.
        kind: String,
        /// One line each.
        failures: Vec<String>,
    },
    /// The definition changed meanwhile.
    #[error("CustomResourceDefinition {definition}: {reason}")]
    Changed {
        /// Its name.
        definition: String,
        /// In which way, and what to do.
        reason: &'static str,
    },
}

fn list(lines: &[impl ToString]) -> String {
    lines
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Migrates every kind of Flagger's.
pub async fn migrate(
    client: &Client,
    options: &Options,
    report: &mut (dyn FnMut(Event) + Send),
) -> Result<(), MigrateError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let (mut surveys, mut obstacles) = (Vec::new(), Vec::new());
    let flaggers = crd::all(None).into_iter().filter(|one| one.spec.group == GROUP);
    for name in flaggers.filter_map(|one| one.metadata.name) {
        let found = definitions
            .get_opt(&name)
            .await
            .map_err(|error| of_definition(&name, error))?;
        match found.as_ref().map(plan::survey) {
            None => report(Event::Absent { definition: name }),
            Some(Ok(survey)) => surveys.push(survey),
            Some(Err(obstacle)) => obstacles.push(obstacle),
        }
    }
    if !obstacles.is_empty() {
        return Err(MigrateError::Obstacles(obstacles));
    }
    let mut pace = interval(Duration::from_secs(1) / options.rate.get());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for survey in surveys {
        Kind {
            client,
            definitions: &definitions,
            survey: &survey,
            options,
        }
        .migrate(&mut pace, report)
        .await?;
    }
    Ok(())
}

fn of_definition(name: &str, error: kube::Error) -> ClusterError {
    ClusterError::of(format!("CustomResourceDefinition {name}"), error)
}

/// One kind under migration.
struct Kind<'a> {
    client: &'a Client,
    definitions: &'a Api<CustomResourceDefinition>,
    survey: &'a Survey,
    options: &'a Options,
}

impl Kind<'_> {
    async fn migrate(
        &self,
        pace: &mut Interval,
        report: &mut (dyn FnMut(Event) + Send),
    ) -> Result<(), MigrateError> {
        let (survey, dry_run) = (self.survey, self.options.dry_run);
        let definition = || survey.name.clone();
        if let Some(adopt) = &survey.adopt {
            report(Event::Adopted {
                definition: definition(),
                stored: survey.stored.clone(),
            });
            if !dry_run {
                install::adopt(self.client, adopt).await?;
            }
        }
        let before = self.definition().await?;
        let Pass {
            mut tally,
            unclean,
            failures,
        } = self.objects(pace, report).await?;
        if !failures.is_empty() {
            return Err(MigrateError::Objects {
                kind: survey.kind.clone(),
                failures,
            });
        }
        if dry_run {
            tally.cleaned = unclean.len() as u64;
            report(Event::Migrated {
                kind: survey.kind.clone(),
                tally,
            });
            if survey.stored != [STORAGE] {
                report(Event::Trimmed {
                    definition: definition(),
                    stored: survey.stored.clone(),
                });
            }
            if let Some((_, versions)) = plan::retire(survey.adopt.as_deref().unwrap_or(&before)) {
                report(Event::Retired {
                    definition: definition(),
                    versions,
                });
            }
            return Ok(());
        }
        let trimmed = self.trim(&before).await?;
        let mut failures = Vec::new();
        for object in &unclean {
            match self.clean(object, pace).await {
                Ok(Fate::Kept { written }) => tally.cleaned += u64::from(written),
                Ok(Fate::Gone) => tally.gone += 1,
                Err(error) => failures.push(error.to_string()),
            }
        }
        report(Event::Migrated {
            kind: survey.kind.clone(),
            tally,
        });
        if trimmed {
            report(Event::Trimmed {
                definition: definition(),
                stored: survey.stored.clone(),
            });
        }
        if !failures.is_empty() {
            return Err(MigrateError::Owners {
                kind: survey.kind.clone(),
                failures,
            });
        }
        if let Some(versions) = self.retire().await? {
            report(Event::Retired {
                definition: definition(),
                versions,
            });
        }
        Ok(())
    }

    async fn definition(&self) -> Result<CustomResourceDefinition, ClusterError> {
        let name = &self.survey.name;
        self.definitions
            .get(name)
            .await
            .map_err(|error| of_definition(name, error))
    }

    fn api(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let version = if self.options.dry_run {
            &self.survey.read_at
        } else {
            STORAGE
        };
        let kind = GroupVersionKind::gvk(GROUP, version, &self.survey.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &self.survey.plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Rewrites every object.
    async fn objects(
        &self,
        pace: &mut Interval,
        report: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Pass, MigrateError> {
        let all = self.api(None);
        let mut pass = Pass::default();
        let (mut from, mut begun) = (None, 0);
        loop {
            let parameters = ListParams {
                limit: Some(self.options.page_size.get()),
                continue_token: from.take(),
                ..ListParams::default()
            };
            let page = match all.list_metadata(&parameters).await {
                Ok(page) => page,
                // The token outlived the API server's memory. What was rewritten is not written again.
                Err(kube::Error::Api(status)) if status.code == 410 && begun < ATTEMPTS => {
                    begun += 1;
                    pass = Pass::default();
                    continue;
                }
                Err(error) => return Err(ClusterError::of(self.survey.plural.clone(), error).into()),
            };
            let left = page
                .metadata
                .remaining_item_count
                .and_then(|left| u64::try_from(left).ok());
            let more = page.metadata.continue_.filter(|token| !token.is_empty());
            let here = page.items.len() as u64;
            let total = match (&more, left) {
                (Some(_), None) => None,
                (_, left) => Some(pass.tally.seen + here + left.unwrap_or_default()),
            };
            for object in page.items {
                pass.tally.seen += 1;
                match self.rewrite(&object, pace).await {
                    Ok(Fate::Kept { written }) => {
                        pass.tally.rewritten += u64::from(written);
                        if plan::kept_fields(object.managed_fields(), &self.survey.served).is_some() {
                            pass.unclean.push(object);
                        }
                    }
                    Ok(Fate::Gone) => pass.tally.gone += 1,
                    Err(error) => pass.failures.push(error.to_string()),
                }
                report(Event::Progress {
                    kind: self.survey.kind.clone(),
                    seen: pass.tally.seen,
                    total,
                });
            }
            match more {
                Some(token) => from = Some(token),
                None => return Ok(pass),
            }
        }
    }

    /// Has the API server write an object at the storage version: it writes what differs from the stored bytes, and
    /// they do at another version, so an empty patch is enough. Through `/status` it meets neither admission nor
    /// validation of the spec: what is there is moved, not judged.
    async fn rewrite(
        &self,
        object: &PartialObjectMeta<DynamicObject>,
        pace: &mut Interval,
    ) -> Result<Fate, ClusterError> {
        let (name, read) = (object.name_any(), object.resource_version());
        if self.options.dry_run {
            return Ok(Fate::Kept { written: false });
        }
        let api = self.api(object.namespace().as_deref());
        let patch = Patch::Merge(json!({}));
        self.written(object, pace, async || {
            let written = api
                .patch_status(&name, &parameters(FIELD_MANAGER), &patch)
                .await?;
            Ok(Fate::Kept {
                written: written.resource_version() != read,
            })
        })
        .await
    }

    /// Drops owners at versions nobody serves. `/status` leaves owners alone, so this goes through admission like
    /// any other write.
    async fn clean(
        &self,
        object: &PartialObjectMeta<DynamicObject>,
        pace: &mut Interval,
    ) -> Result<Fate, ClusterError> {
        let (name, api) = (object.name_any(), self.api(object.namespace().as_deref()));
        self.written(object, pace, async || {
            let now = api.get_metadata(&name).await?;
            let Some(fields) = plan::kept_fields(now.managed_fields(), &self.survey.served) else {
                return Ok(Fate::Kept { written: false });
            };
            let patch = Patch::Merge(plan::owned(&fields, now.resource_version().as_deref()));
            api.patch_metadata(&name, &parameters(FIELD_MANAGER), &patch)
                .await?;
            Ok(Fate::Kept { written: true })
        })
        .await
    }

    /// Writes until it succeeds, is refused for good, or was tried often enough. An object that is gone is no failure.
    async fn written(
        &self,
        object: &PartialObjectMeta<DynamicObject>,
        pace: &mut Interval,
        write: impl AsyncFn() -> kube::Result<Fate>,
    ) -> Result<Fate, ClusterError> {
        let api = self.api(object.namespace().as_deref());
        let mut pause = Duration::from_millis(200);
        let mut attempt = 1;
        loop {
            pace.tick().await;
            let error = match write().await {
                Ok(fate) => return Ok(fate),
                Err(error) => error,
            };
            // A missing subresource is "not found" as well: only the object itself can say that it is gone.
            if let kube::Error::Api(status) = &error
                && status.is_not_found()
                && let Ok(None) = api.get_metadata_opt(&object.name_any()).await
            {
                return Ok(Fate::Gone);
            }
            let passes = match &error {
                kube::Error::Api(status) => status.is_conflict() || status.code == 429 || status.code >= 500,
                _ => true,
            };
            if !passes || attempt >= ATTEMPTS {
                let namespace = object.namespace().unwrap_or_default();
                return Err(ClusterError::of(
                    format!("{} {namespace}/{}", self.survey.kind, object.name_any()),
                    error,
                ));
            }
            sleep(pause).await;
            pause *= 2;
            attempt += 1;
        }
    }

    /// Trims `status.storedVersions`; false when there was nothing to trim.
    async fn trim(&self, before: &CustomResourceDefinition) -> Result<bool, MigrateError> {
        let wanted = |now: &CustomResourceDefinition| {
            plan::trim(before, now).map_err(|reason| MigrateError::Changed {
                definition: self.survey.name.clone(),
                reason,
            })
        };
        Ok(self
            .change(true, |now| Ok(wanted(now)?.map(|patch| (patch, ()))))
            .await?
            .is_some())
    }

    /// Takes out versions that only stored objects needed; gives their names.
    async fn retire(&self) -> Result<Option<Vec<String>>, MigrateError> {
        self.change(false, |now| Ok(plan::retire(now))).await
    }

    /// Patches the definition, or its status, over the state the patch was decided from.
    async fn change<T>(
        &self,
        status: bool,
        decide: impl Fn(&CustomResourceDefinition) -> Result<Option<(Value, T)>, MigrateError>,
    ) -> Result<Option<T>, MigrateError> {
        let name = &self.survey.name;
        let manager = if status {
            FIELD_MANAGER
        } else {
            install::FIELD_MANAGER
        };
        let parameters = parameters(manager);
        for attempt in 1.. {
            let Some((patch, result)) = decide(&self.definition().await?)? else {
                return Ok(None);
            };
            let patch = Patch::<Value>::Merge(patch);
            let made = if status {
                self.definitions.patch_status(name, &parameters, &patch).await
            } else {
                self.definitions.patch(name, &parameters, &patch).await
            };
            match made {
                Ok(_) => return Ok(Some(result)),
                Err(kube::Error::Api(refusal)) if refusal.is_conflict() && attempt < ATTEMPTS => {}
                Err(error) => return Err(of_definition(name, error).into()),
            }
        }
        Ok(None)
    }
}

fn parameters(manager: &str) -> PatchParams {
    PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    }
}

/// One way through all objects of a kind.
#[derive(Default)]
struct Pass {
    tally: Tally,
    /// Those with owners at versions nobody serves.
    unclean: Vec<PartialObjectMeta<DynamicObject>>,
    /// What could not be written, one line each.
    failures: Vec<String>,
}

/// What became of one object.
enum Fate {
    /// It is there; `written` says whether there was anything to write.
    Kept { written: bool },
    /// Somebody deleted it.
    Gone,
}
