//! Opening what a former run left behind: the lock, the segments, the damage, the cursors.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};

use model::Lane;

use crate::{
    Fault, JournalError,
    cursors::{CursorFile, Noted},
    segment::{self, Segment},
    shelf::{Shelf, Slot},
};

/// What opening a folder yields.
pub(crate) struct Opened {
    /// Held for as long as the journal is open.
    pub(crate) lock: File,
    pub(crate) shelf: Shelf,
    pub(crate) cursors: CursorFile,
}

fn failed<E: std::error::Error + Send + Sync + 'static>(dir: &Path) -> impl FnOnce(E) -> JournalError {
    let dir = dir.to_owned();
    move |source| JournalError::Open { dir, source: Arc::new(source) }
}

/// Opens the folder. Segments of `segment_bytes` or more are not written to any more.
pub(crate) fn open(dir: &Path, segment_bytes: u64) -> Result<Opened, JournalError> {
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let lock = File::options().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(failed(dir))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(JournalError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => return Err(failed(dir)(error)),
    }
    let (cursors, noted) = cursor_file(dir)?;
    let mut shelf = Shelf::default();
    let numbers = segment_numbers(dir)?;
    let newest = numbers.last().copied();
    let mut writable = false;
    for number in numbers {
        let slot = Slot::new(dir, number);
        if Some(number) == newest {
            // Only the newest can have been in the middle of something: all its checksums are verified.
            writable = adopt_scanned(&mut shelf, dir, slot)? && fs_size(dir, number) < segment_bytes;
        } else {
            adopt(&mut shelf, dir, slot)?;
        }
    }
    settle(&mut shelf, noted);
    if !writable {
        shelf.slots.push_back(Slot::new(dir, newest.unwrap_or(0) + 1));
    }
    Ok(Opened { lock, shelf, cursors })
}

fn fs_size(dir: &Path, number: u64) -> u64 {
    Segment::new(crate::shelf::segment_path(dir, number)).size()
}

fn segment_numbers(dir: &Path) -> Result<Vec<u64>, JournalError> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(dir).map_err(failed(dir))? {
        let name = file.map_err(failed(dir))?.file_name();
        if let Some(number) = name.to_str().and_then(|name| name.strip_suffix(".segment")).and_then(|n| n.parse().ok())
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Puts a sealed segment on the shelf by what it says of itself, or, if that is damaged, by what is found in it.
fn adopt(shelf: &mut Shelf, dir: &Path, mut slot: Slot) -> Result<(), JournalError> {
    match slot.segment.spans() {
        Ok(spans) => {
            slot.spans = spans;
            slot.bytes = slot.segment.size();
            slot.segment.release();
            place(shelf, slot);
            Ok(())
        }
        Err(error) if segment::is_damage(&error) => adopt_scanned(shelf, dir, slot).map(|_| ()),
        Err(error) => Err(failed(dir)(error)),
    }
}

/// Puts a segment on the shelf by what is found in it. Returns true if it is whole and may be written to.
fn adopt_scanned(shelf: &mut Shelf, dir: &Path, mut slot: Slot) -> Result<bool, JournalError> {
    let mut whole = true;
    // Opening undoes a half-written transaction; only a file that is damaged beyond that may lack its tail.
    if matches!(slot.segment.spans(), Err(error) if segment::is_damage(&error)) {
        whole = false;
        slot.segment.mend_length().map_err(failed(dir))?;
    }
    for lane in Lane::ALL {
        match segment::scan(&slot.segment, lane) {
            Ok(scan) => {
                whole &= !scan.broken && scan.damage.is_empty();
                slot.spans[lane as usize] = scan.span;
                for (first, last, fault) in scan.damage {
                    shelf.note_damage(lane, first, last, fault);
                }
            }
            Err(error) if segment::is_damage(&error) => {
                set_aside(&slot.segment, dir)?;
                return Ok(false);
            }
            Err(error) => return Err(failed(dir)(error)),
        }
    }
    slot.bytes = slot.segment.size();
    if !whole {
        tracing::error!(file = %slot.segment.path().display(), "a file of the journal is damaged; what can be read of it is served");
    }
    place(shelf, slot);
    Ok(whole)
}

/// A file that cannot be read at all is kept for whoever wants to look into it.
fn set_aside(segment: &Segment, dir: &Path) -> Result<(), JournalError> {
    segment.release();
    let mut name = segment.path().as_os_str().to_owned();
    name.push(".damaged");
    tracing::error!(file = %segment.path().display(), kept_as = %PathBuf::from(&name).display(), "a file of the journal cannot be read and was set aside");
    fs::rename(segment.path(), name).map_err(failed(dir))
}

fn place(shelf: &mut Shelf, slot: Slot) {
    for lane in Lane::ALL {
        let index = lane as usize;
        let Some(span) = slot.spans[index] else { continue };
        let before = shelf.slots.iter().rev().find_map(|slot| slot.spans[index]);
        if let Some(before) = before.filter(|before| before.last + 1 < span.first) {
            shelf.note_damage(lane, before.last + 1, span.first - 1, Fault::Lost);
        }
        shelf.heads[index] = shelf.heads[index].max(span.last);
    }
    shelf.slots.push_back(slot);
}

/// Offsets that were given out once are never given out again, or a consumer would skip what comes under them.
fn settle(shelf: &mut Shelf, noted: Noted) {
    for lane in Lane::ALL {
        let index = lane as usize;
        let read = noted.cursors.iter().filter(|((_, l), _)| *l == lane).map(|(_, at)| *at).max().unwrap_or(0);
        let known = read.max(noted.heads[index]);
        let found = shelf.heads[index];
        if known > found {
            if shelf.slots.iter().any(|slot| slot.spans[index].is_some()) {
                shelf.note_damage(lane, found + 1, known, Fault::Lost);
            }
            shelf.heads[index] = known;
        }
    }
    shelf.cursors = noted.cursors;
}

fn cursor_file(dir: &Path) -> Result<(CursorFile, Noted), JournalError> {
    let path = dir.join("cursors.db");
    match CursorFile::open(&path) {
        Ok(opened) => Ok(opened),
        Err(error) if segment::is_damage(&error) => {
            tracing::error!(file = %path.display(), error = %error, "the file of cursors is damaged and was set aside; nothing is trimmed until every consumer has said where it stands");
            fs::rename(&path, dir.join("cursors.db.damaged")).map_err(failed(dir))?;
            CursorFile::open(&path).map_err(failed(dir))
        }
        Err(error) => Err(failed(dir)(error)),
    }
}
