//! What each key means. Pure.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::edit_line::Edit;
use super::list::Movement;
use super::order::Tab;

/// What a key means while a list or details are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyCommand {
    Quit,
    Suspend,
    Help,
    Move(Movement),
    /// Shows the details of a row.
    Open,
    /// Leaves the details.
    Back,
    Show(Tab),
    NextTab,
    PreviousTab,
    /// Sorts by the next order.
    Sort,
    Reverse,
    /// Writes times in the next format.
    Times,
    /// Begins to type a filter.
    Filter,
}

/// What a key means while a filter is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FilterCommand {
    Edit(Edit),
    Apply,
    Cancel,
    Quit,
}

/// The meaning of a key while a list or details are shown; `None` if it has none.
pub(super) fn command(key: KeyEvent) -> Option<KeyCommand> {
    let command = match (key.code, is_control(key)) {
        (KeyCode::Char('q'), false) | (KeyCode::Char('c'), true) => KeyCommand::Quit,
        (KeyCode::Char('z'), true) => KeyCommand::Suspend,
        (KeyCode::Char('?'), false) | (KeyCode::F(1), _) => KeyCommand::Help,

        (KeyCode::Up | KeyCode::Char('k'), false) => KeyCommand::Move(Movement::Up),
        (KeyCode::Down | KeyCode::Char('j'), false) => KeyCommand::Move(Movement::Down),
        (KeyCode::PageUp, _) | (KeyCode::Char('b'), true) => KeyCommand::Move(Movement::PageUp),
        (KeyCode::PageDown, _) | (KeyCode::Char('f'), true) => KeyCommand::Move(Movement::PageDown),
        (KeyCode::Home, _) | (KeyCode::Char('g'), false) => KeyCommand::Move(Movement::Top),
        (KeyCode::End, _) | (KeyCode::Char('G'), false) => KeyCommand::Move(Movement::Bottom),

        (KeyCode::Enter, _) => KeyCommand::Open,
        (KeyCode::Esc, _) => KeyCommand::Back,
        (KeyCode::Char('1'), false) => KeyCommand::Show(Tab::Units),
        (KeyCode::Char('2'), false) => KeyCommand::Show(Tab::Machines),
        (KeyCode::Char('3'), false) => KeyCommand::Show(Tab::Events),
        (KeyCode::Tab, _) => KeyCommand::NextTab,
        (KeyCode::BackTab, _) => KeyCommand::PreviousTab,
        (KeyCode::Char('s'), false) => KeyCommand::Sort,
        (KeyCode::Char('r'), false) => KeyCommand::Reverse,
        (KeyCode::Char('t'), false) => KeyCommand::Times,
        (KeyCode::Char('/'), false) => KeyCommand::Filter,
        _ => return None,
    };
    Some(command)
}

/// The meaning of a key while a filter is typed; `None` if it has none.
pub(super) fn filter_command(key: KeyEvent) -> Option<FilterCommand> {
    let edit = match (key.code, is_control(key)) {
        (KeyCode::Enter, _) => return Some(FilterCommand::Apply),
        (KeyCode::Esc, _) => return Some(FilterCommand::Cancel),
        (KeyCode::Char('c'), true) => return Some(FilterCommand::Quit),

        (KeyCode::Left, _) | (KeyCode::Char('b'), true) => Edit::Left,
        (KeyCode::Right, _) | (KeyCode::Char('f'), true) => Edit::Right,
        (KeyCode::Home, _) | (KeyCode::Char('a'), true) => Edit::Start,
        (KeyCode::End, _) | (KeyCode::Char('e'), true) => Edit::End,
        (KeyCode::Backspace, _) | (KeyCode::Char('h'), true) => Edit::DeleteBefore,
        (KeyCode::Delete, _) | (KeyCode::Char('d'), true) => Edit::DeleteAfter,
        (KeyCode::Char('w'), true) => Edit::DeleteWord,
        (KeyCode::Char('u'), true) => Edit::DeleteToStart,
        (KeyCode::Char(char), false) => Edit::Insert(char),
        _ => return None,
    };
    Some(FilterCommand::Edit(edit))
}

fn is_control(key: KeyEvent) -> bool {
    key.modifiers.contains(KeyModifiers::CONTROL)
}
