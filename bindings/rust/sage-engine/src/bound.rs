//! Memory that a session uses in place: vectors that were moved into it.
use std::any::Any;

use crate::element::{Dtype, Element};
use crate::error::{Error, Result};
use crate::session::Direction;

/// By index: what is bound. A vector's elements stay where they are while it is moved about, and nothing here makes
/// it grow.
#[derive(Default)]
pub(crate) struct Bound(Vec<Option<(Dtype, Box<dyn Any + Send>)>>);

impl Bound {
    /// What lay there before is dropped: the library uses the new one already.
    pub(crate) fn put<T: Element>(&mut self, index: u32, data: Vec<T>) {
        let index = index as usize;
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index] = Some((T::DTYPE, Box::new(data)));
    }
    pub(crate) fn forget(&mut self, index: u32) {
        if let Some(place) = self.0.get_mut(index as usize) {
            *place = None;
        }
    }
    pub(crate) fn get<T: Element>(&self, direction: Direction, index: u32) -> Result<&Vec<T>> {
        let place = self.0.get(index as usize).and_then(Option::as_ref);
        place.and_then(|(_, data)| data.downcast_ref()).ok_or_else(|| self.wrong::<T>(direction, index))
    }
    pub(crate) fn get_mut<T: Element>(&mut self, direction: Direction, index: u32) -> Result<&mut Vec<T>> {
        self.get::<T>(direction, index)?;
        let place = self.0.get_mut(index as usize).and_then(Option::as_mut);
        Ok(place.and_then(|(_, data)| data.downcast_mut()).expect("it was there a line ago"))
    }
    pub(crate) fn take<T: Element>(&mut self, direction: Direction, index: u32) -> Result<Vec<T>> {
        let data = std::mem::take(self.get_mut(direction, index)?);
        self.forget(index);
        Ok(data)
    }
    fn wrong<T: Element>(&self, direction: Direction, index: u32) -> Error {
        let side = direction.name();
        match self.0.get(index as usize) {
            Some(Some((dtype, _))) => {
                let asked = std::any::type_name::<T>();
                Error::invalid(format!("{side} {index} is bound to elements of {dtype}; {asked} was asked for"))
            }
            _ => Error::invalid(format!("{side} {index} is not bound to a vector")),
        }
    }
}
