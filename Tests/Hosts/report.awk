# Of what the tests print: all before the first of them, each issue with its detail, each test that failed, what was
# declared away by reason, and the closing line. Where that is missing, what was still running.

/^== done/ { next }
/ (Test|Suite|Test case) .* (started|passed after)/ || / Test run started/ { isBegun = 1 }
!isBegun { if ($0 != "") print; next }

# An argument may have lines of its own.
/^◇ Test case passing/ && !/ started\.$/ { isArgument = 1; next }
isArgument { if (/ started\.$/) isArgument = 0; next }

/ Test case passing .* started\.$/ { begun = name(" started\\.$"); next }
/ Test .* started\.$/ { running[name(" started\\.$")] = 1 }
/ Test .* (passed|failed|skipped|cancelled)/ { delete running[name(" (passed|failed|skipped|cancelled).*$")] }

# A case of a test with arguments, which says so itself.
sub(/^.*declared away: /, "") { away[$0]++; total++; next }

/ (skipped|was cancelled|cancelled)(:| after)/ {
    reason = $0
    if (!sub(/^.*(skipped|cancelled|cancelled after [0-9.]+ seconds): /, "", reason)) reason = "no reason given"
    gsub(/"/, "", reason)
    sub(/^needs: /, "needs ", reason)
    away[reason]++
    total++
    isIssue = 0
    next
}
/ recorded an issue/ { isIssue = 1; print; next }
/^ *(↳|±|\/\/)/ { if (isIssue) print; next }
/ Test run with / { closing = $0; next }
/ (Test|Suite) .* failed after/ { isIssue = 0; if ($0 !~ / Suite /) print; next }
# What no test prints, as a crash.
/^[^✔◇✘➜]/ && !/^ / { if ($0 != "" && $0 !~ /^\[/) print }
{ isIssue = 0 }

END {
    if (total) {
        print "Declared away: " total
        for (reason in away) print "  " away[reason] " x " reason
    }
    if (closing != "") { print closing; exit }
    print "No closing line; still running:"
    for (test in running) print "  " test
    if (begun != "") print "The last case that began: " begun
}

function name(end,   text) {
    text = $0
    sub(end, "", text)
    sub(/ with [0-9]+ test cases?$/, "", text)
    sub(/^[^A-Za-z]*Test (case passing )?/, "", text)
    return text
}
