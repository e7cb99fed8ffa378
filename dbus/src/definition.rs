//! What an interface has: the form that exporters check calls against and that introspection tells.

use std::fmt::Write as _;

/// An interface.
#[derive(Debug)]
pub struct Definition {
    /// Its name.
    pub name: &'static str,
    /// Its methods.
    pub methods: &'static [Method],
    /// Its properties.
    pub properties: &'static [Property],
}

/// A method.
#[derive(Debug)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// What it is given.
    pub takes: &'static [Argument],
    /// What it gives.
    pub gives: &'static [Argument],
}

/// An argument of a method.
#[derive(Debug)]
pub struct Argument {
    /// Its name, for people.
    pub name: &'static str,
    /// Its type, as a D-Bus signature.
    pub signature: &'static str,
}

/// A property.
#[derive(Debug)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// Its type, as a D-Bus signature.
    pub signature: &'static str,
    /// What may be done with it.
    pub access: Access,
}

/// What may be done with a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is read, and never changes.
    Const,
    /// It is read, and its changes are told.
    Read,
    /// The same, and it can be set.
    ReadWrite,
}

impl Definition {
    /// The method of this name.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&'static Method> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// The property of this name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'static Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// Appends the interface as introspection XML, without its description.
    pub fn introspect(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = self.write(out);
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "  <interface name=\"{}\">", self.name)?;
        for method in self.methods {
            if method.takes.is_empty() && method.gives.is_empty() {
                writeln!(out, "    <method name=\"{}\"/>", method.name)?;
                continue;
            }
            writeln!(out, "    <method name=\"{}\">", method.name)?;
            let takes = method.takes.iter().map(|argument| (argument, "in"));
            for (Argument { name, signature }, direction) in
                takes.chain(method.gives.iter().map(|gives| (gives, "out")))
            {
                writeln!(out, "      <arg name=\"{name}\" type=\"{signature}\" direction=\"{direction}\"/>")?;
            }
            writeln!(out, "    </method>")?;
        }
        for Property { name, signature, access } in self.properties {
            let may = if *access == Access::ReadWrite { "readwrite" } else { "read" };
            write!(out, "    <property name=\"{name}\" type=\"{signature}\" access=\"{may}\"")?;
            if *access == Access::Const {
                writeln!(
                    out,
                    ">\n      <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"const\"/>\n    </property>"
                )?;
            } else {
                writeln!(out, "/>")?;
            }
        }
        writeln!(out, "  </interface>")
    }
}

impl Method {
    /// The type of all that it is given together.
    #[must_use]
    pub fn signature(&self) -> String {
        self.takes.iter().map(|argument| argument.signature).collect()
    }
}

/// An argument, for tables.
pub(crate) const fn arg(name: &'static str, signature: &'static str) -> Argument {
    Argument { name, signature }
}

/// A method, for tables.
pub(crate) const fn method(name: &'static str, takes: &'static [Argument], gives: &'static [Argument]) -> Method {
    Method { name, takes, gives }
}

/// A property that is read, for tables.
pub(crate) const fn read(name: &'static str, signature: &'static str) -> Property {
    Property { name, signature, access: Access::Read }
}

/// A property that is set, for tables.
pub(crate) const fn set(name: &'static str, signature: &'static str) -> Property {
    Property { name, signature, access: Access::ReadWrite }
}

/// A property that never changes, for tables.
pub(crate) const fn fixed(name: &'static str, signature: &'static str) -> Property {
    Property { name, signature, access: Access::Const }
}
