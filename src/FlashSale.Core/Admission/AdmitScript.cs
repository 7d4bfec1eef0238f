using System.Buffers.Binary;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Admission;

/// <summary>What admit.lua decided.</summary>
public enum AdmitCode : byte
{
    /// <summary>Admitted, with a new ticket or the one that the user has.</summary>
    Admitted = (byte)'A',

    /// <summary>Redis does not know the sale.</summary>
    NotLoaded = (byte)'N',

    /// <summary>Redis was started anew and is not verified yet.</summary>
    NotVerified = (byte)'V',

    /// <summary>The sale was loaded again: the caller's snapshot is old.</summary>
    OtherEpoch = (byte)'E',

    /// <summary>The caller's deadline has passed.</summary>
    TooLate = (byte)'D',

    /// <summary>The sale is held.</summary>
    Paused = (byte)'P',

    /// <summary>Before opensAt.</summary>
    NotOpen = (byte)'O',

    /// <summary>Past closesAt, or ended.</summary>
    Closed = (byte)'C',

    /// <summary>The challenge has expired, or its solution has admitted somebody already.</summary>
    SolutionUsed = (byte)'X',

    /// <summary>Beyond the sale's admission rate.</summary>
    RateLimited = (byte)'L',
}

/// <summary>The decision about one request for admission.</summary>
/// <param name="Code">What was decided.</param>
/// <param name="Now">Redis TIME, Unix milliseconds.</param>
/// <param name="WaitMilliseconds">Beyond the rate: until there is a token again, if nobody else takes it.</param>
/// <param name="Ticket">For an admission: the first 28 bytes of the user's ticket, see <see cref="Tickets"/>.</param>
public readonly record struct AdmitDecision(AdmitCode Code, long Now, long WaitMilliseconds, byte[]? Ticket = null);

/// <summary>Who asks for admission.</summary>
/// <param name="User">The user's hash.</param>
/// <param name="Solved">The challenge that was answered, where one was asked for.</param>
/// <param name="TicketMilliseconds">How long a new ticket is good for.</param>
public readonly record struct AdmissionRequest(ulong User, SolvedChallenge? Solved, long TicketMilliseconds);

/// <summary>The caller of admit.lua.</summary>
public sealed class AdmitScript(RedisConnection redis)
{
    private static readonly RedisScript Script = new("Sales.door.lua", "Admission.admit.lua");

    /// <summary>Asks for one admission.</summary>
    /// <param name="keys">Of the sale.</param>
    /// <param name="epoch">The one that the caller's snapshot carries.</param>
    /// <param name="notAfter">Redis TIME after which nobody may be admitted any more, Unix milliseconds.</param>
    /// <param name="asked">By whom.</param>
    /// <param name="deadline">How long to wait for the answer.</param>
    /// <exception cref="RedisUnavailableException">Nothing was decided.</exception>
    /// <exception cref="RedisOutcomeUnknownException">It may have been decided; asked again, the user gets the ticket that was given.</exception>
    public async Task<AdmitDecision> AdmitAsync(SaleKeys keys, long epoch, long notAfter, AdmissionRequest asked, TimeSpan deadline)
    {
        var user = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(user, asked.User);
        try
        {
            var answer = (RedisResult[])(await Script.CallAsync(redis, [keys.Sale, keys.Admission, keys.Solved(asked.Solved?.Id), keys.Ticket(asked.User)],
                [asked.Solved?.ExpiresAt ?? 0, epoch, notAfter, user, Tickets.NewId(), asked.TicketMilliseconds], deadline))!;
            var code = (AdmitCode)((byte[])answer[0]!)[0];
            return new AdmitDecision(code, (long)answer[1], (long)answer[2], code is AdmitCode.Admitted ? (byte[])answer[3]! : null);
        }
        catch (RedisServerException e)
        {
            throw new RedisUnavailableException($"admit.lua refused: {e.Message}", e);
        }
    }
}
