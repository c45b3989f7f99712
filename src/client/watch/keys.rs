//! What each key means. Pure.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::edit_line::Edit;
use super::list::Movement;
use super::order::View;

/// What a key means while a list or details are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    Suspend,
    Help,
    Move(Movement),
    /// Shows the details of a row.
    Open,
    /// Leaves the details.
    Back,
    Show(View),
    NextView,
    PreviousView,
    /// Sorts by the next order.
    Sort,
    Reverse,
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
pub(super) fn command(key: KeyEvent) -> Option<Command> {
    let command = match (key.code, is_control(key)) {
        (KeyCode::Char('q'), false) | (KeyCode::Char('c'), true) => Command::Quit,
        (KeyCode::Char('z'), true) => Command::Suspend,
        (KeyCode::Char('?'), false) | (KeyCode::F(1), _) => Command::Help,

        (KeyCode::Up | KeyCode::Char('k'), false) => Command::Move(Movement::Up),
        (KeyCode::Down | KeyCode::Char('j'), false) => Command::Move(Movement::Down),
        (KeyCode::PageUp, _) | (KeyCode::Char('b'), true) => Command::Move(Movement::PageUp),
        (KeyCode::PageDown, _) | (KeyCode::Char('f'), true) => Command::Move(Movement::PageDown),
        (KeyCode::Home, _) | (KeyCode::Char('g'), false) => Command::Move(Movement::Top),
        (KeyCode::End, _) | (KeyCode::Char('G'), false) => Command::Move(Movement::Bottom),

        (KeyCode::Enter, _) => Command::Open,
        (KeyCode::Esc, _) => Command::Back,
        (KeyCode::Char('1'), false) => Command::Show(View::Units),
        (KeyCode::Char('2'), false) => Command::Show(View::Machines),
        (KeyCode::Char('3'), false) => Command::Show(View::Events),
        (KeyCode::Tab, _) => Command::NextView,
        (KeyCode::BackTab, _) => Command::PreviousView,
        (KeyCode::Char('s'), false) => Command::Sort,
        (KeyCode::Char('r'), false) => Command::Reverse,
        (KeyCode::Char('/'), false) => Command::Filter,
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
