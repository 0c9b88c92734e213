//! States as text, short enough to read a trace.

use std::fmt;

use super::{
    search::Trace,
    state::{Flight, Jar, Owner, Stage, State, Version},
};

/// One line a state.
impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|state| write!(f, "\n  {state:?}"))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match (self.ended, self.settled, self.stored.confirmed) {
            (true, ..) => "ended",
            (_, true, _) => "settled",
            (_, _, true) => "confirmed",
            _ => "unconfirmed",
        };
        write!(f, "generation {} {status:11} | jar {:?}", self.stored.generation, self.jar)?;
        if self.thief.jar.refresh.is_some() {
            write!(f, " | thief {:?}", self.thief.jar)?;
        }
        for flight in self.flights.iter().filter(|flight| flight.stage != Stage::Free) {
            write!(f, " | {flight:?}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refresh =
            self.refresh.map_or("no refresh".to_owned(), |generation| format!("refresh {generation}"));
        write!(f, "{refresh}{}", if self.access { " and access" } else { "           " })
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.generation, if self.confirmed { " confirmed" } else { "" })
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.owner == Owner::Thief {
            f.write_str("thief's: ")?;
        }
        let carried = |refresh: bool| if refresh { "refresh and access" } else { "access" };
        let age = |old: bool| if old { ", old" } else { "" };
        match self.stage {
            Stage::Sent { refresh, access, old } => {
                write!(f, "sent refresh {refresh}{}{}", if access { " and access" } else { "" }, age(old))
            }
            Stage::Write { seen, next, .. } => write!(f, "to write {next:?} over {seen:?}"),
            Stage::ReadAgain { presented } => write!(f, "to read again for refresh {presented}"),
            Stage::Remove => f.write_str("to remove the session"),
            Stage::Handle { generation, refresh } => {
                write!(f, "handler, with {} {generation}", carried(refresh))
            }
            Stage::Return { generation, refresh, old } => {
                write!(f, "returns {} {generation}{}", carried(refresh), age(old))
            }
            Stage::Clear { old } => write!(f, "clears the cookies{}", age(old)),
            Stage::Note { node } => write!(f, "node {node} to read for a confirmation"),
            Stage::Confirm { node, seen } => write!(f, "node {node} to confirm {seen:?}"),
            Stage::Free => f.write_str("free"),
        }
    }
}
