using System.Buffers.Binary;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Admission;

/// <summary>The decisions of admit.lua. The values are its codes.</summary>
public enum AdmitCode : byte
{
    /// <summary>Admitted, with a new ticket or the one that the user already has.</summary>
    Admitted = (byte)'A',

    /// <summary>Redis does not know the sale.</summary>
    NotLoaded = (byte)'N',

    /// <summary>Redis was restarted, and the worker has not verified it yet.</summary>
    NotVerified = (byte)'V',

    /// <summary>The sale was loaded again, so the caller's snapshot is outdated.</summary>
    OtherEpoch = (byte)'E',

    /// <summary>The caller's deadline has passed.</summary>
    TooLate = (byte)'D',

    /// <summary>The sale is paused.</summary>
    Paused = (byte)'P',

    /// <summary>The sale opens later.</summary>
    NotOpen = (byte)'O',

    /// <summary>The sale is past closesAt, or a manager has closed it.</summary>
    Closed = (byte)'C',

    /// <summary>The challenge has expired, or its solution has already admitted a user.</summary>
    SolutionUsed = (byte)'X',

    /// <summary>The sale's admission rate is used up.</summary>
    RateLimited = (byte)'L',
}

/// <summary>The decision about one request for admission.</summary>
/// <param name="Code">The decision.</param>
/// <param name="Now">Redis TIME, Unix milliseconds.</param>
/// <param name="WaitMilliseconds">
/// With <see cref="AdmitCode.RateLimited"/>, milliseconds until the bucket holds a token again, if no other user takes
/// it.
/// </param>
/// <param name="Ticket">
/// With <see cref="AdmitCode.Admitted"/>, the first 28 bytes of the user's ticket, see <see cref="Tickets"/>.
/// </param>
public readonly record struct AdmitDecision(AdmitCode Code, long Now, long WaitMilliseconds, byte[]? Ticket = null);

/// <summary>A request for admission.</summary>
/// <param name="User">The user's <see cref="Contracts.Fingerprints.OfUser"/>.</param>
/// <param name="Solved">The challenge that the user has solved. Null when no challenge was asked for.</param>
/// <param name="TicketMilliseconds">Lifetime of a new ticket, in milliseconds.</param>
public readonly record struct AdmissionRequest(ulong User, SolvedChallenge? Solved, long TicketMilliseconds);

/// <summary>Calls admit.lua, which gives tickets.</summary>
public sealed class AdmitScript(RedisConnection redis)
{
    private static readonly RedisScript Script = new("Sales.door.lua", "Admission.admit.lua");

    /// <summary>Asks Redis to admit one user to one sale.</summary>
    /// <param name="keys">The keys of the sale.</param>
    /// <param name="epoch">The epoch of the sale in the caller's snapshot.</param>
    /// <param name="notAfter">Redis TIME after which the request is refused, Unix milliseconds.</param>
    /// <param name="asked">The user, the solved challenge and the lifetime of a new ticket.</param>
    /// <param name="deadline">The longest time to wait for the answer.</param>
    /// <exception cref="RedisUnavailableException">Nothing was decided.</exception>
    /// <exception cref="RedisOutcomeUnknownException">
    /// Redis may have decided. A repeated request gets the ticket that was given.
    /// </exception>
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
