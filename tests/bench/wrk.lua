-- What wrk measured, as one line of JSON. Times are in microseconds.
function done(summary, latency)
    local errors = summary.errors
    io.write(('{"calls":%d,"bytes":%d,"us":%d,"p50":%d,"p99":%d,"errors":%d}\n'):format(summary.requests, summary.bytes,
        summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
