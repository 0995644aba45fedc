// SPDX-License-Identifier: GPL-2.0
/*
 * The test client: a driver for devices that only access dma-bufs, controlled by test programs.
 * Each device is /dev/rk_client/NAME, where NAME is that of its device tree node. Without such a
 * node the module registers a device named rk-client.
 */

#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/string.h>

#include "client.h"

static unsigned int dma_bits = 64;
module_param(dma_bits, uint, 0444);
MODULE_PARM_DESC(dma_bits, "Number of DMA address bits of the devices (default 64)");

static unsigned int max_segment = UINT_MAX;
module_param(max_segment, uint, 0444);
MODULE_PARM_DESC(max_segment,
		 "Maximum segment size that the devices declare, in bytes; 0: they declare none");

static bool coherent;
module_param(coherent, bool, 0444);
MODULE_PARM_DESC(coherent, "The devices snoop CPU caches, whatever the device tree says");

static unsigned int operations;
module_param(operations, uint, 0444);
MODULE_PARM_DESC(
	operations,
	"How memory is mapped for the devices: 0 directly, 1 by DMA operations of their own, "
	"2 by those of 32-bit arm for an IOMMU (default 0)");

static int client_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	const char *name = dev->of_node ? kbasename(dev->of_node->full_name) : dev_name(dev);
	struct client *client;
	int ret;

	ret = dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(dma_bits));
	if (ret)
		return dev_err_probe(dev, ret, "%u DMA address bits are not supported\n", dma_bits);
	if (coherent)
		dev_set_dma_coherent(dev);
	if (max_segment)
		dma_set_max_seg_size(dev, max_segment);
	ret = operations_set(dev, operations);
	if (ret)
		return dev_err_probe(dev, ret, "operations=%u is not supported\n", operations);

	client = devm_kzalloc(dev, sizeof(*client), GFP_KERNEL);
	if (!client)
		return -ENOMEM;
	client->dev = dev;
	client->misc.minor = MISC_DYNAMIC_MINOR;
	client->misc.name = devm_kasprintf(dev, GFP_KERNEL, "rk_client-%s", name);
	client->misc.nodename = devm_kasprintf(dev, GFP_KERNEL, "rk_client/%s", name);
	if (!client->misc.name || !client->misc.nodename)
		return -ENOMEM;
	client->misc.fops = &client_file_operations;
	client->misc.parent = dev;
	platform_set_drvdata(pdev, client);
	return misc_register(&client->misc);
}

/* No file is open: open files pin the module, and bind attributes are suppressed. */
static void client_remove(struct platform_device *pdev)
{
	struct client *client = platform_get_drvdata(pdev);

	misc_deregister(&client->misc);
	operations_reset(&pdev->dev);
}

static const struct of_device_id client_of_match[] = { { .compatible = "rk-dma-heap,test-client" },
						       {} };
MODULE_DEVICE_TABLE(of, client_of_match);

static struct platform_driver client_driver = {
	.probe = client_probe,
	.remove = client_remove,
	.driver = {
		.name = "rk-client",
		.of_match_table = client_of_match,
		.suppress_bind_attrs = true,
	},
};

static struct platform_device *own_device;

static int __init client_init(void)
{
	struct device_node *node;
	int ret;

	if (dma_bits < 24 || dma_bits > 64) {
		pr_err("rk_client: dma_bits=%u: must be 24 to 64\n", dma_bits);
		return -EINVAL;
	}
	ret = platform_driver_register(&client_driver);
	if (ret)
		return ret;

	node = of_find_matching_node(NULL, client_of_match);
	of_node_put(node);
	if (node)
		return 0;
	own_device = platform_device_register_simple("rk-client", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(own_device)) {
		platform_driver_unregister(&client_driver);
		return PTR_ERR(own_device);
	}
	return 0;
}

static void __exit client_exit(void)
{
	platform_device_unregister(own_device);
	platform_driver_unregister(&client_driver);
}

module_init(client_init);
module_exit(client_exit);
MODULE_AUTHOR("The rk_dma_heap authors");
MODULE_DESCRIPTION("Devices that access dma-bufs, for tests");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
