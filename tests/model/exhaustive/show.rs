//! States as text, short enough to read a trace.

use std::fmt;

use super::{
    search::Trace,
    state::{
        Backup, Binding, Flight, Generations, Jar, Owner, Plan, Record, Shown, Stage, StampedAt, State, Thief,
    },
    times::{Age, Timers, Times},
};

/// How long it is, then one line a state.
impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {} steps:", self.0.len() - 1)?;
        self.0.iter().try_for_each(|state| write!(f, "\n  {state:?}"))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ended {
            f.write_str("ended: ")?;
        }
        write!(f, "{}; timers {:?} | jar {:?}", line(&self.record), self.timers, self.jar)?;
        if self.device.is_registered {
            write!(f, ", registered with a {} challenge", fresh(self.device.has_fresh_challenge))?;
        }
        match &self.backup {
            Backup::None => {}
            Backup::Taken(record) => write!(f, " | will go back to {}", line(record))?,
            Backup::Restored => f.write_str(" | has lost writes")?,
        }
        if self.thief.has_copied {
            write!(f, " | thief {:?}", self.thief)?;
        }
        for flight in self.flights.iter().filter(|flight| flight.stage != Stage::Free) {
            write!(f, " | {flight:?}")?;
        }
        Ok(())
    }
}

fn line(record: &Record) -> String {
    let graces = |age: Age| ["0", "1", "2"][age as usize];
    let Record { generation, parent, seen, .. } = *record;
    let seen =
        seen.map_or("none seen".to_owned(), |seen| format!("{seen} seen {}g ago", graces(record.seen_for)));
    let (began, issued) = (graces(record.began_for), graces(record.issued_for));
    let bound = graces(record.bound_for);
    let seen = match record.binding {
        Binding::None => seen,
        Binding::Observed => format!("{seen}, bound {bound}g ago, not enforced"),
        Binding::Enforced => format!("{seen}, bound {bound}g ago"),
    };
    match record.is_confirmed() {
        true => format!("generation {generation}, parent {parent}, {seen}"),
        false => format!(
            "generation {generation} began {began}g ago, issued {issued}g ago, parent {parent}, {seen}"
        ),
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            (Self::SEEN, "seen"),
            (Self::ISSUED, "issued"),
            (Self::BEGAN, "began"),
            (Self::SEEN.for_backup(), "seen in the backup"),
            (Self::ISSUED.for_backup(), "issued in the backup"),
            (Self::BEGAN.for_backup(), "began in the backup"),
            (Self::USED, "used"),
            (Self::READ, "read"),
            (Self::BOUND, "bound"),
        ];
        let names: Vec<_> =
            named.iter().filter(|(times, _)| self.contains(*times)).map(|(_, name)| *name).collect();
        f.write_str(&names.join("+"))
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refresh {}{}", self.refresh, and_access(self.access))
    }
}

fn and_access(access: Option<u8>) -> String {
    access.map_or(String::new(), |access| format!(" and access {access}"))
}

impl fmt::Debug for Generations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Thief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refresh {:?}, access {:?}", self.refresh, self.access)?;
        match self.used {
            Some(used) if self.used_for == Age::New => write!(f, ", has used {used}"),
            Some(used) => write!(f, ", has used {used} 1g ago"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.owner == Owner::Thief {
            f.write_str("thief's: ")?;
        }
        let carried = |refresh: bool| if refresh { "refresh and access" } else { "access" };
        let late = |late: bool| if late { "late " } else { "" };
        match self.stage {
            Stage::Sent { refresh, access, shown, ahead } => {
                let and_access = and_access(access);
                write!(f, "sent refresh {refresh}{and_access}{}, {ahead} timers ahead", and_shown(shown))
            }
            Stage::ReadAgain { presented, shown } => {
                write!(f, "to read again for refresh {presented}{}", and_shown(shown))
            }
            Stage::Write { answer, plan, stamped_at } => {
                let (presented, shown) = (answer.presented, and_shown(answer.shown));
                write!(f, "refresh {presented}{shown} to write {}{}", written(plan), stamped(stamped_at))
            }
            Stage::Handle { answer } => {
                let (generation, carried) = (answer.generation, carried(answer.refresh));
                let shown = and_shown(answer.shown);
                write!(f, "{}handler, with {carried} {generation}{shown}", late(answer.late))
            }
            Stage::BeforeCookies { plan, .. } => write!(f, "before its cookies to write {}", written(plan)),
            Stage::Return { generation, refresh, ahead } => {
                write!(f, "returns {} {generation}, {ahead} timers ahead", carried(refresh))
            }
            Stage::Sight { generation } => write!(f, "to read for access {generation}"),
            Stage::Raise { plan, stamped_at, .. } => {
                write!(f, "sighting to write {}{}", written(plan), stamped(stamped_at))
            }
            Stage::Register { ahead } => write!(f, "registers, {ahead} timers ahead"),
            Stage::Registered { access, is_fresh, ahead } => {
                let access = and_access(access);
                write!(f, "registered{access} with a {} challenge, {ahead} timers ahead", fresh(is_fresh))
            }
            Stage::Challenged { is_fresh, ahead } => {
                write!(f, "a {} challenge returns, {ahead} timers ahead", fresh(is_fresh))
            }
            Stage::Free => f.write_str("free"),
        }
    }
}

fn fresh(is_fresh: bool) -> &'static str {
    if is_fresh { "fresh" } else { "used" }
}

fn and_shown(shown: Shown) -> &'static str {
    match shown {
        Shown::Nothing => "",
        Shown::Access => " with good access",
        Shown::Skipped => " without a proof",
        Shown::Proof => " and a proof",
        Shown::UsedProof => " and a used proof",
        Shown::OtherKey => " and a proof by another key",
    }
}

fn written(Plan { generation, parent, seen, stamps, binding }: Plan) -> String {
    let binding = binding.map_or(String::new(), |binding| format!(", {binding:?}"));
    let seen = seen.map_or("none".to_owned(), |seen| seen.to_string());
    format!("generation {generation}, parent {parent}, {seen} seen{binding}, now: {stamps:?}")
}

fn stamped(stamped_at: StampedAt) -> &'static str {
    match stamped_at {
        StampedAt::Write => "",
        StampedAt::Read => ", as of its read",
        StampedAt::OldRead => ", as of its read 1g ago",
    }
}
