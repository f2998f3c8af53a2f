// The tables of the coordinator's database, and how older ones become them.
#pragma once

#include <SQLiteCpp/Database.h>

#include "absl/status/status.h"

namespace atelier::coordinator {

// In one transaction: makes the tables of an empty database, or brings an older schema to the
// newest. FailedPrecondition when a newer Atelier wrote it. Throws SQLite::Exception.
absl::Status BringToNewestSchema(SQLite::Database& db);

}  // namespace atelier::coordinator
