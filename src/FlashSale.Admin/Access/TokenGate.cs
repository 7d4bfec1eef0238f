using System.Security.Cryptography;
using System.Text;
using FlashSale.Platform;
using FlashSale.Sales;
using Microsoft.AspNetCore.Authorization;

namespace FlashSale.Admin.Access;

/// <summary>
/// Lets in requests with a known token, as far as the role of the token allows. The gate stands before all of the host,
/// unknown paths included. Only endpoints that allow anonymous callers need no token.
/// </summary>
public sealed class TokenGate
{
    private const string Scheme = "Bearer ";

    // No known token is longer. Without the bound, a client could keep this host busy with hashing.
    private const int MaxToken = 1_024;

    internal static readonly Problem Forbidden = new(403, "forbidden", "The token's role does not allow this.");

    private readonly (byte[] Hash, Actor Actor, AdminRole Role)[] _tokens;

    /// <summary>Takes the hashes of the accepted tokens.</summary>
    public TokenGate(AdminOptions options) =>
        _tokens = [.. options.Tokens.Select(token => (Convert.FromHexString(token.Sha256), new Actor(token.Name, token.Role), Enum.Parse<AdminRole>(token.Role, ignoreCase: true)))];

    /// <summary>
    /// Runs as middleware after routing. Answers 401 without a known token, and 403 below the required role.
    /// </summary>
    public Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        var metadata = context.GetEndpoint()?.Metadata;
        if (metadata?.GetMetadata<IAllowAnonymous>() is not null) return next(context);
        if (!TryFind(context.Request.Headers.Authorization.ToString(), out var actor, out var role)) return Problems.WriteAsync(context, Problem.Unauthenticated);
        if (metadata?.GetMetadata<RequiredRole>() is { } required && role < required.Role)
            return Problems.WriteAsync(context, Forbidden, $"This needs the role {required.Role.Text()}; the token has the role {role.Text()}.");
        context.Features.Set(actor);
        return next(context);
    }

    private bool TryFind(string header, out Actor actor, out AdminRole role)
    {
        (actor, role) = (null!, default);
        if (header.Length <= Scheme.Length || header.Length > MaxToken || !header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase)) return false;
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes(header[Scheme.Length..].Trim(' ')));
        var found = false;
        // Every token is compared, even after a match, so that the time taken tells nothing.
        foreach (var token in _tokens)
        {
            if (!CryptographicOperations.FixedTimeEquals(token.Hash, hash)) continue;
            (actor, role, found) = (token.Actor, token.Role, true);
        }
        return found;
    }
}

/// <summary>Adds the tokens to the host.</summary>
public static class AccessModule
{
    /// <summary>Reads the tokens of section <c>Admin</c>.</summary>
    /// <exception cref="InvalidSettingException">There is no token, or one of them is not valid.</exception>
    public static void AddAccess(this WebApplicationBuilder builder)
    {
        var options = builder.Services.AddSettings<AdminOptions>(builder.Configuration, "Admin");
        if (options.Tokens.Count == 0)
            throw new InvalidSettingException("Admin:Tokens = (not set): at least one token is required, as Admin:Tokens:0:Name, Admin:Tokens:0:Role and Admin:Tokens:0:Sha256.");
        builder.Services.AddSingleton<TokenGate>();
    }

    /// <summary>Requires a token for everything that is mapped or used after this call.</summary>
    public static void UseAccess(this WebApplication app)
    {
        var gate = app.Services.GetRequiredService<TokenGate>();
        app.Use(gate.InvokeAsync);
    }
}
