# SPDX-License-Identifier: GPL-2.0
#
# Generates a KUnit suite from the examples in the documentation of the module's sources. Each
# example is a test, named after its file and its first line. Lines that begin with `# ` are part of
# the test, but hidden in the documentation.

BEGIN {
	print "#[kernel::prelude::kunit_tests(rk_dma_heap_doc_examples)]"
	print "mod tests {"
	print "use kernel::prelude::*;"
}

/^[ \t]*\/\/[\/!] ?```/ {
	if (inside) {
		print "Ok(())\n}"
	} else {
		name = FILENAME
		sub(/.*\/(src|heaps|procfs)\//, "", name)
		sub(/\.rs$/, "", name)
		gsub(/[^a-z_0-9]/, "_", name)
		print "#[test]\n#[allow(clippy::unnecessary_wraps)]"
		printf "fn %s_line_%d() -> Result {\n", name, FNR
	}
	inside = !inside
	next
}

inside {
	sub(/^[ \t]*\/\/[\/!] ?/, "")
	sub(/^# /, "")
	print
}

END {
	print "}"
}
