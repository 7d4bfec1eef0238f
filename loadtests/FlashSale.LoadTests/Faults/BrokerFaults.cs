namespace FlashSale.LoadTests.Faults;

/// <summary>Faults of a broker that runs but does not do its work.</summary>
public static class BrokerFaults
{
    // This is the product's queue of reservations. Queues that others bound to the broker must not be deleted.
    private const string Queue = "flashsale-reservations";

    public static IReadOnlyList<Row> Rows { get; } =
    [
        new("broker-alarm", "the broker's memory alarm blocks publishers for 6 s")
        {
            Inject = async fault =>
            {
                await fault.Stack.RabbitMqCtlAsync("set_vm_memory_high_watermark", "0.0000001");
                var alarms = await fault.Stack.RabbitMqCtlAsync("eval", "rabbit_alarm:get_alarms().");
                if (alarms.Contains("memory", StringComparison.Ordinal)) fault.TookHold($"alarms {alarms.Trim()}");
            },
            Lasts = TimeSpan.FromSeconds(6),
            Heal = fault => fault.Stack.RabbitMqCtlAsync("set_vm_memory_high_watermark", "0.4"),
        },
        new("broker-queue-deleted", "the queue of reservations is deleted, with what waits in it because nothing could be stored for 2 s")
        {
            Inject = async fault =>
            {
                string told;
                await using (await PostgresFaults.LockOrdersAsync(fault))
                {
                    await Task.Delay(TimeSpan.FromSeconds(2));
                    told = await fault.Stack.RabbitMqCtlAsync("delete_queue", Queue);
                }
                // rabbitmqctl answers, for example: "Queue 'x' on vhost '/' was successfully deleted with 12 ready
                // messages".
                if (told.Contains("deleted", StringComparison.OrdinalIgnoreCase) && !told.Contains("with 0 ready", StringComparison.OrdinalIgnoreCase)) fault.TookHold(told.Trim().ReplaceLineEndings(" "));
            },
        },
    ];
}
