// A few pictures as training sees them.
#pragma once

#include "absl/status/status.h"
#include "atelier/v1/data_service.pb.h"
#include "services/data/catalog.h"
#include "services/data/picture_cache.h"

namespace atelier::data {

// Fills `response`, which is of no use after an error. Errors as StreamBatches', and
// ResourceExhausted without memory, and as soon as the pictures take more than a message. `stop` is
// asked before each picture, too. Never throws. Thread-safe.
absl::Status MakePreview(Catalog& catalog, PictureCache& cache, const v1::PreviewRequest& request,
                         v1::PreviewResponse& response, const StopCheck& stop);

}  // namespace atelier::data
