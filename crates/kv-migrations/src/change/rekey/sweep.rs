//! Reads entries under both keys, later than KV's delay, and deletes the old ones whose copies are there.

use std::rc::Rc;

use futures_util::future::try_join;

use super::collision::Collision;
use super::copies::{Copies, CopyHash, CopyRecord, fingerprint};
use super::found::Found;
use super::mapping::Target;
use super::pass::{Pass, Tools, run};
use super::plan::{Plan, gives_way, plan_all};
use super::relocation::{Part, Relocation, expires_soon};
use super::state::RekeyState;
use super::verdict::{AtNewKey, Evidence, Verdict, verdict, verdict_of_changed_copying, verdict_of_copying};
use super::verify::verify_copy;
use super::writer::{NewEntry, Place};
use crate::change::Job;
use crate::change::hash::HashKey;
use crate::change::values::{Loaded, load_values};
use crate::change::walk::{Loading, WalkEnd};
use crate::error::{BoxError, Result};
use crate::future::BoxFuture;
use crate::kv::{Entry, Key, Kv, Metadata, without_byte_order_mark};
use crate::sabotage::{self, Defect};
use crate::session::Session;

/// What the work of a sweep reads.
struct Sweep<'a> {
    relocation: &'a Relocation<'a>,
    part: Part,
    key: HashKey,
    copied: Rc<Copies>,
    sweeps: u32,
    /// Whether copies are changed on their way.
    is_changing: bool,
    /// See [`RekeyState::is_writing`]. A whole re-key knows its copies by their fingerprints, and does both at once.
    may_prove: bool,
    may_write: bool,
}

/// Sweeps a batch.
pub(super) async fn sweep(
    relocation: &Relocation<'_>,
    job: &mut Job<'_>,
    state: &mut RekeyState,
) -> Result<WalkEnd> {
    let is_whole = relocation.settings.part == Part::Whole;
    let sweep = Sweep {
        relocation,
        part: relocation.settings.part,
        key: state.key,
        copied: state.copied.clone(),
        sweeps: state.sweeps,
        is_changing: relocation.changing.is_some(),
        may_prove: is_whole || !state.is_writing,
        may_write: is_whole || state.is_writing,
    };
    run(&sweep, job, state).await
}

impl Pass for Sweep<'_> {
    fn relocation(&self) -> &Relocation<'_> {
        self.relocation
    }

    /// Reads the entries that move, and what is at their new keys.
    fn load<'a>(
        &'a self,
        session: &'a Session<'a>,
        keys: Vec<Key>,
        state: &mut RekeyState,
    ) -> Loading<'a, Plan> {
        let plans = plan_all(keys, &mut |key| self.plan(session, key, state));
        Box::pin(async move {
            let plans = plans?;
            let moves = || {
                plans.iter().filter_map(|(key, plan)| match plan {
                    Plan::Moves { new, .. } => Some((key.name.as_str(), new.as_str())),
                    _ => None,
                })
            };
            let (old, new): (Vec<&str>, Vec<&str>) = moves().unzip();
            if old.is_empty() {
                return Ok(plans);
            }
            let (old, new) =
                try_join(load_values(&self.relocation.old, &old), load_values(&self.relocation.new, &new))
                    .await?;
            let mut values = old.into_iter().zip(new);
            let compare = |(key, plan): (Key, Plan)| match plan {
                Plan::Moves { new, .. } => {
                    let compared =
                        values.next().map(|(old, copy)| self.compare(session, &key, new, old, &copy));
                    (key, compared.unwrap_or(Plan::Stays))
                }
                plan => (key, plan),
            };
            Ok::<_, BoxError>(plans.into_iter().map(compare).collect())
        })
    }

    fn plan_again(&self, new: String) -> Plan {
        Plan::Compared { new, is_proven: false, is_large: true }
    }

    fn work<'a>(&'a self, tools: Tools<'a>, key: Key, plan: Plan) -> BoxFuture<'a, Result<Found>> {
        Box::pin(self.follow(tools, key, plan))
    }
}

impl Sweep<'_> {
    fn plan(&self, session: &Session<'_>, key: &Key, state: &RekeyState) -> Result<Plan> {
        if self.relocation.settings.part == Part::Copying && !state.is_of_interest(&key.name) {
            return Ok(Plan::Stays);
        }
        let new = match self.relocation.target(session, key, state)? {
            Target::Moves(new) => new,
            target => return Ok(Plan::of_target(target)),
        };
        if gives_way(state, &key.name, &new) {
            return Ok(Plan::GivesWay { new });
        }
        verify_copy(&state.copied, &key.name, &new)?;
        verify_copy(&state.copied_again, &key.name, &new)?;
        if state.copied_again.new_key(&key.name).is_some() {
            // An earlier request of this sweep has copied it: what KV shows so soon proves nothing.
            return Ok(Plan::Stays);
        }
        Ok(Plan::moves(new))
    }

    async fn follow(&self, tools: Tools<'_>, key: Key, plan: Plan) -> Result<Found> {
        let (new, is_proven, is_large) = match plan {
            Plan::Compared { new, is_proven, is_large } => (new, is_proven, is_large),
            Plan::GivesWay { new } => return self.give_way(&tools, key, new).await,
            plan => return Ok(Found::unless_it_moves(plan).err().unwrap_or(Found::Nothing)),
        };
        if is_proven || sabotage::is_on(Defect::DeleteBeforeVerify) {
            return self.conclude(&tools.old, key).await;
        }
        let look_closer = self.look_closer(&tools, key, new);
        if is_large { tools.large_values.alone(look_closer).await } else { look_closer.await }
    }

    /// The entry gives way to what is at its new key.
    async fn give_way(&self, tools: &Tools<'_>, key: Key, new: String) -> Result<Found> {
        if let Some(record) = tools.recheck(self.relocation, &key, &new, true).await? {
            return Ok(Found::Recorded(record));
        }
        if tools.is_missing(&new, Loaded::Unread).await? {
            return Ok(Found::Left(Collision::gone(&key.name, &new)));
        }
        self.conclude(&tools.old, key).await
    }

    /// The copy is proven.
    async fn conclude(&self, old: &Kv, key: Key) -> Result<Found> {
        if !self.may_prove {
            return Ok(Found::Unproven { old: key.name });
        }
        if self.part == Part::Whole {
            old.delete(&key.name).await?;
        }
        Ok(Found::Moved)
    }

    fn compare(
        &self,
        session: &Session<'_>,
        key: &Key,
        new: String,
        old_value: Loaded,
        new_value: &Loaded,
    ) -> Plan {
        let mut is_proven = match (&old_value, new_value) {
            // A value alone does not tell an earlier copy from one that was perhaps not written.
            _ if self.copied.is_unconfirmed(&key.name) => false,
            (Loaded::Value(old), Loaded::Value(copy)) => {
                let is_same = without_byte_order_mark(old) == without_byte_order_mark(copy);
                let fingerprint = self.fingerprint(key, old, key.metadata.as_ref(), key.expiration);
                // What the service has put there itself is its own.
                let is_of_service = self.part == Part::Copying && self.copied.new_key(&key.name).is_none();
                if self.is_changing {
                    let copy = CopyHash::new(self.key, &key.name, copy, None, None);
                    is_of_service || self.copied.has_value(&key.name, &new, fingerprint, copy)
                } else {
                    is_same && (is_of_service || self.copied.contains(&key.name, &new, fingerprint))
                }
            }
            _ => false,
        };
        let is_large = matches!(old_value, Loaded::Large) || matches!(new_value, Loaded::Large);
        if is_proven
            && let Some(by_value) = self.relocation.by_value
            && let Loaded::Value(value) = old_value
        {
            is_proven = by_value.is_current(self.relocation, session, key, value, &new);
        }
        Plan::Compared { new, is_proven, is_large }
    }

    /// Reads one entry and its copy exactly, where reading in bulk proved nothing.
    async fn look_closer(&self, tools: &Tools<'_>, key: Key, new: String) -> Result<Found> {
        let (kv, writer) = (&tools.new, tools.writer);
        let Some(mut entry) = tools.old.get(&key.name).await? else { return Ok(Found::Nothing) };
        if let Some(record) = self.relocation.recheck(tools.session, &key, &mut entry, &new)? {
            return Ok(Found::Recorded(record));
        }
        let fingerprint = self.fingerprint(&key, &entry.value, entry.metadata.as_ref(), key.expiration);
        let at_new_key = if self.is_changing {
            self.changed_at_new_key(kv, &key, fingerprint, &new).await?
        } else {
            self.at_new_key(kv, &key, &entry, &new).await?
        };
        // A changed copy is recorded before it is written: what is there in its place may be older than the record.
        let is_doubtful =
            self.is_changing && at_new_key != AtNewKey::SameEntry && self.copied.is_unconfirmed(&key.name);
        let is_unchanged = !is_doubtful && self.copied.contains(&key.name, &new, fingerprint);
        let evidence = Evidence { is_unchanged, at_new_key, sweeps: self.sweeps };
        let verdict = match self.part {
            Part::Copying if self.is_changing => verdict_of_changed_copying,
            // An earlier request of a sweep that writes may have made the copy, and left no record of it.
            Part::Copying if self.may_prove || at_new_key != AtNewKey::SameEntry => verdict_of_copying,
            _ => verdict,
        };
        let old = key.name.clone();
        match verdict(evidence) {
            Verdict::Proven => return self.conclude(&tools.old, key).await,
            Verdict::Collide if self.is_changing => {
                let is_adopted = self.adopt_changed(tools, &key, entry, &new).await?;
                return Ok(if is_adopted { Found::Unproven { old } } else { Found::Suspect { old, new } });
            }
            Verdict::Collide if self.may_prove => return Ok(Found::Suspect { old, new }),
            Verdict::CopyAgain if expires_soon(kv, &key) => return Ok(Found::Nothing),
            Verdict::CopyAgain if self.may_write => {
                let is_free = at_new_key == AtNewKey::Nothing;
                let place = if is_free { Place::Free } else { Place::Occupied };
                match NewEntry::new(self.relocation.changing.as_deref(), self.key, kv, &key, entry, new)
                    .await?
                {
                    Ok(copy) => writer.write(kv, copy, place).await?,
                    Err(collision) => return Ok(Found::Left(collision)),
                }
            }
            Verdict::Adopt => {
                let (old, written) = (old.clone(), None);
                writer.note(CopyRecord { old, new, fingerprint, written, is_confirmed: true });
            }
            Verdict::Collide | Verdict::CopyAgain | Verdict::LookAgain => {}
        }
        Ok(Found::Unproven { old })
    }

    async fn at_new_key(&self, kv: &Kv, key: &Key, entry: &Entry, new: &str) -> Result<AtNewKey> {
        let Some(copy) = kv.get(new).await? else { return Ok(AtNewKey::Nothing) };
        let listed = kv.find(new).await?;
        let expiration = listed.as_ref().and_then(|listed| listed.expiration);
        if copy == *entry && expiration == key.expiration {
            return Ok(AtNewKey::SameEntry);
        }
        let is_our_copy = listed.is_some_and(|listed| {
            let fingerprint = self.fingerprint(key, &copy.value, listed.metadata.as_ref(), listed.expiration);
            self.copied.contains(&key.name, new, fingerprint)
        });
        Ok(if copy == *entry {
            AtNewKey::OtherExpiration { is_our_copy }
        } else {
            AtNewKey::OtherContent { is_our_copy }
        })
    }

    async fn changed_at_new_key(&self, kv: &Kv, key: &Key, fingerprint: u64, new: &str) -> Result<AtNewKey> {
        let Some(copy) = kv.get(new).await? else { return Ok(AtNewKey::Nothing) };
        let expiration = kv.find(new).await?.and_then(|listed| listed.expiration);
        let copy = CopyHash::new(self.key, &key.name, &copy.value, copy.metadata.as_ref(), expiration);
        if self.copied.has_copy(&key.name, new, fingerprint, copy) {
            return Ok(AtNewKey::SameEntry);
        }
        Ok(AtNewKey::OtherContent { is_our_copy: self.copied.has_written(&key.name, new, copy) })
    }

    /// Where the new key has the value and metadata that the change returns, it counts as our copy from now on: the service
    /// may write both keys.
    async fn adopt_changed(&self, tools: &Tools<'_>, key: &Key, entry: Entry, new: &str) -> Result<bool> {
        let (kv, changing) = (&tools.new, self.relocation.changing.as_deref());
        let Ok(copy) = NewEntry::new(changing, self.key, kv, key, entry, new.to_owned()).await? else {
            return Ok(false);
        };
        if kv.get(new).await?.as_ref() != Some(&copy.entry) {
            return Ok(false);
        }
        if kv.find(new).await?.and_then(|listed| listed.expiration) == copy.expiration {
            tools.writer.note(copy.into_record());
        } else {
            tools.writer.write(kv, copy, Place::Occupied).await?;
        }
        Ok(true)
    }

    /// The fingerprint of the entry of an old key, if it has this content.
    fn fingerprint(
        &self,
        key: &Key,
        value: &[u8],
        metadata: Option<&Metadata>,
        expiration: Option<u64>,
    ) -> u64 {
        fingerprint(self.key, &key.name, value, metadata, expiration)
    }
}
