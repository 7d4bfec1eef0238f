using System.ComponentModel;
using System.Diagnostics;
using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Admin.Stock;
using FlashSale.Admission;
using FlashSale.Platform;
using Microsoft.AspNetCore.Http.Features;

namespace FlashSale.Admin.Blocklist;

/// <summary>The body that adds an entry, as OpenAPI shows it.</summary>
[Description("Kind: user, ip, cidr or client. Until: when the block ends by itself; without, it stands until it is removed.")]
public sealed record BlockBody(string Kind, string Value, string Reason, DateTimeOffset? Until = null);

/// <summary>An entry of the blocklist that stands.</summary>
public sealed record BlockPage(string Kind, string Value, string Reason, string? Until, string CreatedAt, string ChangedAt)
{
    /// <summary>Makes the page of an entry.</summary>
    public static BlockPage Of(BlockedEntry entry) =>
        new(entry.Kind, entry.Value, entry.Reason, Moments.Text(entry.Until), Moments.Text(entry.CreatedAt), Moments.Text(entry.ChangedAt));
}

/// <summary>A page of the blocklist, the latest change first. NextCursor is null on the last page.</summary>
public sealed record BlockList(IReadOnlyList<BlockPage> Entries, string? NextCursor);

/// <summary>/api/v1/ops/blocklist: the users, addresses and clients that may not buy.</summary>
public static class BlocklistEndpoints
{
    // A recorded change must reach the nodes within a second. The operator is told when it may not have reached them.
    private const int ChangesAtOnce = 1_000;
    private static readonly TimeSpan PublishPatience = TimeSpan.FromSeconds(2);

    /// <summary>The rule for the end of a block, as errors spell it.</summary>
    public const string UntilRule = "a time in the future";

    /// <summary>Registers the services of the endpoints.</summary>
    public static void AddBlocklist(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<BlocklistStore>();
        builder.Services.AddSingleton<BlocklistPublisher>();
    }

    /// <summary>Maps the endpoints.</summary>
    public static void MapBlocklist(this WebApplication app)
    {
        var list = app.MapGroup("/api/v1/ops/blocklist").WithTags("Blocklist");
        list.MapGet("", ListAsync).For(AdminRole.Viewer).Produces<BlockList>().WithDescription("What stands now, the latest change first. A value is looked for within its kind.");
        list.MapPost("", PutAsync).For(AdminRole.Operator).Accepts<BlockBody>("application/json").Produces<BlockPage>().Produces<BlockPage>(StatusCodes.Status201Created)
            .WithDescription("201 for a new entry, 200 where one that stood was changed. Effective on every node within a second.");
        list.MapDelete("{kind}/{**value}", RemoveAsync).For(AdminRole.Operator).Produces(StatusCodes.Status204NoContent)
            .WithDescription("Also answered by 204 when the entry was removed within the last day.");
    }

    private static async Task<IResult> ListAsync(HttpContext context, BlocklistStore store, string? kind, string? value, string? limit, string? cursor)
    {
        var errors = new FormErrors();
        var paging = Paging.Read(context.Request.Query, errors, Paging.IsNumber);
        if (kind is not null && value is not null) value = Subject(kind, value, errors.Add)?.Value;
        else if (kind is not null && !BlockedSubject.TryReadKind(kind, out _)) errors.Add("kind", $"must be {BlockedSubject.Kinds}");
        else if (value is not null) errors.Add("kind", "is required with a value");
        if (errors.Any) return AdminProblems.Invalid(errors.All);
        var (page, next) = paging.Cut(await store.ListAsync(kind, value, paging.Limit + 1, paging.AfterNumber, context.RequestAborted), BlockPage.Of, entry => entry.Version);
        return Results.Ok(new BlockList(page, next));
    }

    private static async Task<IResult> PutAsync(HttpContext context, BlocklistStore store, BlocklistPublisher publisher, TimeProvider time)
    {
        var (draft, refused) = await JsonForm.ReadAsync(context.Request, (form, errors) =>
        {
            var kind = form.Text("kind", text => BlockedSubject.TryReadKind(text, out _), BlockedSubject.Kinds);
            var value = form.Text("value", _ => true, "a string");
            var reason = form.Text("reason", StockEndpoints.IsReason, StockEndpoints.ReasonRule);
            var until = form.OptionalTime("until") is { } milliseconds ? DateTimeOffset.FromUnixTimeMilliseconds(milliseconds) : (DateTimeOffset?)null;
            if (until <= time.GetUtcNow()) form.Error("until", $"must be {UntilRule}");
            return errors.Any ? null! : new BlockDraft(Subject(kind, value, form.Error)!, reason, until);
        });
        if (draft is null) return refused!;
        // The change is carried through, even if the operator does not wait any more.
        var (entry, isNew) = await store.PutAsync(draft.Subject, draft.Reason, draft.Until, context.Actor(), CancellationToken.None);
        if (!await PublishAsync(publisher)) return AdminProblems.BlockNotPublished;
        var page = BlockPage.Of(entry);
        return isNew ? Results.Created($"/api/v1/ops/blocklist?kind={page.Kind}&value={Uri.EscapeDataString(page.Value)}", page) : Results.Ok(page);
    }

    private static async Task<IResult> RemoveAsync(string kind, HttpContext context, BlocklistStore store, BlocklistPublisher publisher)
    {
        var errors = new FormErrors();
        if (Subject(kind, ValueOf(context), errors.Add) is not { } subject) return AdminProblems.Invalid(errors.All);
        if (await store.RemoveAsync(subject, context.Actor(), CancellationToken.None) is BlockRemoval.NotFound) return AdminProblems.BlockNotFound;
        return await PublishAsync(publisher) ? Results.NoContent() : AdminProblems.BlockNotPublished;
    }

    // The value as the client sent it. The server's decoded path keeps an escaped slash, and then a%2Fb may be the
    // value a/b, or a%2Fb itself.
    private static string ValueOf(HttpContext context)
    {
        const string Start = "/blocklist/";
        var target = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget;
        var path = target.AsSpan(0, target.IndexOf('?', StringComparison.Ordinal) is >= 0 and var query ? query : target.Length);
        var kind = path.IndexOf(Start, StringComparison.OrdinalIgnoreCase);
        if (kind < 0) return "";
        path = path[(kind + Start.Length)..];
        return Uri.UnescapeDataString(path[(path.IndexOf('/') + 1)..]);
    }

    private static BlockedSubject? Subject(string kind, string value, Action<string, string> error)
    {
        if (!BlockedSubject.TryReadKind(kind, out var known))
        {
            error("kind", $"must be {BlockedSubject.Kinds}");
            return null;
        }
        if (!BlockedSubject.TryRead(known, value, out var subject, out var rule)) error("value", $"must be {rule}");
        return subject;
    }

    // While an import is on its way to Redis a change must follow it. Then the worker publishes the change.
    private static async Task<bool> PublishAsync(BlocklistPublisher publisher)
    {
        try
        {
            for (var since = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(since) < PublishPatience;)
            {
                switch (await publisher.PublishAsync(ChangesAtOnce, CancellationToken.None))
                {
                    case BlocklistState.Complete: return true;
                    case BlocklistState.Behind: continue;
                    // Filling the stream may take long. The worker does that.
                    case BlocklistState.Absent or BlocklistState.Ahead: return false;
                }
            }
            return false;
        }
        catch (Exception e) when (Stores.IsAway(e))
        {
            return false;
        }
    }
}
