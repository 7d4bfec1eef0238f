namespace FlashSale.LoadTests.Faults;

/// <summary>
/// Faults of a full disk. While the row runs, the server's data live on a small memory file system of their own. The
/// fault fills it to its last byte. Afterwards the data go back to their old place. Only root may mount, so for other
/// users the rows are inconclusive.
/// </summary>
public static class DiskFaults
{
    private const int RoomMegabytes = 96;

    public static IReadOnlyList<Row> Rows { get; } = [Full(Part.Redis, "write error"), Full(Part.RabbitMq, "enospc", "disk resource limit alarm"), Full(Part.Postgres, "No space left")];

    private static Row Full(Part server, params string[] signs) => new($"disk-full-{server.Name}", $"the disk of {server} is full for 6 s; it is started again if that ended it")
    {
        Prepare = fault => MoveToSmallDiskAsync(fault, server),
        Inject = async fault =>
        {
            var said = new FileInfo(fault.Stack.LogOf(server)).Length;
            var filler = Path.Combine(fault.Stack.DataOf(server), "filler");
            fault.AtHeal(async () =>
            {
                var log = await fault.Stack.LogSinceAsync(server, said);
                var sign = Array.Find(signs, sign => log.Contains(sign, StringComparison.OrdinalIgnoreCase));
                if (sign is not null) fault.TookHold($"{server} said \"{sign}\"{(Processes.IsAlive(fault.Stack.PidOf(server)) ? "" : " and ended")}");
                File.Delete(filler);
                await fault.Stack.StartAsync(server);
            });
            await FillAsync(filler);
        },
        Lasts = TimeSpan.FromSeconds(6),
    };

    private static async Task MoveToSmallDiskAsync(Fault fault, Part server)
    {
        var data = fault.Stack.DataOf(server);
        var aside = data + ".aside";
        await fault.Stack.StopAsync(server);
        fault.AtEnd(() => fault.Stack.StartAsync(server));
        await ShellAsync($"mv '{data}' '{aside}' && mkdir '{data}' && chown --reference='{aside}' '{data}' && chmod 0700 '{data}'");
        try
        {
            await ShellAsync($"mount -t tmpfs -o size=$(($(du -sm '{aside}' | cut -f1) + {RoomMegabytes}))m tmpfs '{data}'");
        }
        catch (InvalidOperationException e)
        {
            await ShellAsync($"rmdir '{data}' && mv '{aside}' '{data}'");
            throw new InconclusiveException($"mounting is not permitted: {e.Message}");
        }
        fault.AtEnd(async () =>
        {
            await fault.Stack.StopAsync(server);
            await ShellAsync($"rm -rf '{aside}' && cp -a '{data}' '{aside}' && umount '{data}' && rmdir '{data}' && mv '{aside}' '{data}'");
        });
        await ShellAsync($"chown --reference='{aside}' '{data}' && chmod 0700 '{data}' && cp -a '{aside}/.' '{data}/'");
        await fault.Stack.StartAsync(server);
    }

    private static Task<string> ShellAsync(string command) => Processes.RunAsync(["sh", "-c", command]);

    private static async Task FillAsync(string path)
    {
        await using var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        foreach (var block in (byte[][])[new byte[65_536], new byte[4_096], new byte[1]])
        {
            try
            {
                while (true) await file.WriteAsync(block);
            }
            catch (IOException)
            {
                // The disk has no room left for a block of this size.
            }
        }
    }
}
