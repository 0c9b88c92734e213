mod bindings;
mod feed;
mod lists;
mod rotation;
mod rule;
mod stamps;
mod values;
mod writes;

use self::{bindings::*, feed::*, lists::*, rotation::*, stamps::*, values::*, writes::*};
use super::clock::TestClock;
use crate::store::RefreshStore;

/// Tests `store` against the contract of [`RefreshStore`].
///
/// The contract covers the effect of each call, alone and concurrently with others, the state that a cancelled
/// operation leaves behind, every row of the decision table of the rotation, carried out on the store, and the keys of
/// devices, which are kept in the extension of the record.
///
/// A store may round times to milliseconds, but never `confirmed_at`, `rotated_at`, `issued_at` and
/// `claims_at` to an earlier time: sessions would settle early.
///
/// # Panics
///
/// Panics if the store violates a rule or returns an error. The message names the rule.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{store::MemoryStore, testing::store_contract};
///
/// #[tokio::main]
/// async fn main() {
///     store_contract(&MemoryStore::new()).await;
/// }
/// ```
pub async fn store_contract<S: RefreshStore + Clone>(store: &S) {
    created_session_is_read_back(store).await;
    new_ids_are_unique(store);
    an_id_in_use_is_not_overwritten(store).await;
    missing_session_is_not_found(store).await;
    update_replaces_the_record_and_increments_the_version(store).await;
    update_with_another_version_conflicts(store).await;
    one_of_many_concurrent_updates_wins(store).await;
    removed_session_is_never_written(store).await;
    removal_wins_against_concurrent_updates(store).await;
    one_of_many_concurrent_removals_finds_the_session(store).await;
    list_has_the_subjects_sessions_oldest_first(store).await;
    ended_sessions_are_not_listed(store).await;
    extended_session_outlives_its_first_expiry(store).await;
    remove_all_spares_the_kept_session_and_other_subjects(store).await;
    similar_subjects_are_different(store).await;
    every_text_round_trips(store).await;
    every_secret_hash_round_trips(store).await;
    times_round_trip(store).await;
    large_numbers_round_trip(store).await;
    every_extension_round_trips(store).await;
    what_has_been_seen_round_trips(store).await;
    time_does_not_run_backwards(store).await;
    a_stamp_is_the_time_of_the_write(store).await;
    all_stamps_of_a_write_are_of_one_time(store).await;
    last_seen_and_idle_expiry_never_move_back(store).await;
    idle_expiry_never_exceeds_the_absolute_one(store).await;
    an_operation_cut_short_leaves_list_and_records_consistent(store).await;
    every_row_of_the_decision_table_holds(store).await;
    a_wrong_secret_changes_nothing(store).await;
    an_ended_session_is_refused(store).await;
    one_of_64_concurrent_advances_wins(store).await;
    sign_out_wins_against_an_advance(store).await;
    the_clock_of_the_store_decides(store).await;
    a_device_key_is_kept(store).await;
    a_device_key_is_kept_by_rotations(store).await;
    a_binding_and_a_rotation_do_not_overwrite_each_other(store).await;
    feed_has_what_has_ended_or_changed_once_the_call_returns(store).await;
    session_is_gone_before_the_feed_has_it(store).await;
    unknown_cursor_is_a_gap(store).await;
}

/// Tests `store` against the part of the contract of [`RefreshStore`] that needs many sessions of one subject, such
/// as 10,000.
///
/// The requirements on the store are those of [`store_contract`], except that it needs room for `sessions` sessions.
///
/// # Panics
///
/// Panics if the store violates a rule or returns an error; the message names the rule. Also panics if `sessions` is
/// zero.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{store::MemoryStore, testing::store_contract_at_size};
///
/// #[tokio::main]
/// async fn main() {
///     store_contract_at_size(&MemoryStore::new(), 10_000).await;
/// }
/// ```
pub async fn store_contract_at_size<S: RefreshStore>(store: &S, sessions: usize) {
    many_sessions_of_one_subject_are_listed_and_removed(store, sessions).await;
}

/// Tests `store`, which must read the time from `clock`, against the part of the contract of [`RefreshStore`] that
/// depends on the passage of time.
///
/// The clock is moved on by less than a day in all, and back for a moment. What [`store_contract`] says about the store
/// holds here, too.
///
/// # Panics
///
/// Panics if the store violates a rule or returns an error. The message names the rule.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{
///     store::MemoryStore,
///     testing::{TestClock, store_contract_with_clock},
/// };
///
/// #[tokio::main]
/// async fn main() {
///     let clock = TestClock::new();
///     store_contract_with_clock(&MemoryStore::new().with_clock(clock.clone()), &clock).await;
/// }
/// ```
pub async fn store_contract_with_clock<S: RefreshStore>(store: &S, clock: &TestClock) {
    snapshots_tell_the_time_of_the_clock(store, clock).await;
    stamps_follow_the_clock(store, clock).await;
    session_ends_with_its_idle_lifetime(store, clock).await;
    session_ends_with_its_absolute_lifetime(store, clock).await;
    update_moves_the_expiry(store, clock).await;
    list_is_in_the_order_of_sign_in(store, clock).await;
    expired_sessions_make_way_and_live_ones_stay(store, clock).await;
}
