// gRPC's mutexes are Abseil's, and Debian builds Abseil without NDEBUG: it keeps the order in which
// mutexes were taken and ends the process over one that might deadlock.
#pragma once

namespace atelier::rpc {

// Turns that off in builds with NDEBUG, for the whole process; call before gRPC is used.
// Thread-safe, costs nothing when repeated. Since Abseil 2024 (trixie) a mutex that is destroyed in
// code with NDEBUG, ours where gRPC's headers are inlined, is not forgotten: each call left 0.4 kB
// behind, and a new mutex in an old one's place was accused of what the old one did.
void TurnOffLockOrderChecks();

}  // namespace atelier::rpc
