using System.Net;
using System.Net.Sockets;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// Hands out free ports below the range that the kernel uses for outgoing connections. Otherwise a client of the tests
/// could take a port between the probe and the server's bind.
/// </summary>
public static class Ports
{
    private const int First = 21_000;
    private const int Last = 31_500;
    private const int ManagementDistance = 1_000;

    private static readonly Lock Gate = new();
    private static readonly HashSet<int> Taken = [];

    /// <summary>Takes a port. Its management port, 1,000 above, is free too.</summary>
    public static int Take()
    {
        lock (Gate)
        {
            for (var attempt = 0; attempt < 2_000; attempt++)
            {
                // The choice is random, so that two test runs on one machine do not try the same ports.
                var port = Random.Shared.Next(First, Last);
                if (Taken.Contains(port) || Taken.Contains(port + ManagementDistance) || !IsFree(port) || !IsFree(port + ManagementDistance)) continue;
                Taken.Add(port);
                Taken.Add(port + ManagementDistance);
                return port;
            }
        }
        throw new InvalidOperationException($"No free pair of ports between {First} and {Last + ManagementDistance}.");
    }

    private static bool IsFree(int port)
    {
        using var listener = new TcpListener(IPAddress.Loopback, port);
        try
        {
            listener.Start();
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
