// SPDX-License-Identifier: GPL-2.0
/*
 * Failures of memory, as hardware reports them.
 */

#include <linux/mm.h>
#include <linux/pfn.h>

#include "client.h"

int page_fail(struct rk_client_fail *request)
{
#ifdef CONFIG_MEMORY_FAILURE
	int flags = MF_SW_SIMULATED;

	if (request->action_required)
		flags |= MF_ACTION_REQUIRED;
	request->result = memory_failure(PHYS_PFN(request->physical_address), flags);
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}
